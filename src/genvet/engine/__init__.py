"""Runs techniques: hands out the view that each asks for, seeds it, times it, and keeps what it found."""

from genvet.engine.auditing import audit as audit
from genvet.engine.auditing import looked as looked
from genvet.engine.composing import compose as compose
from genvet.engine.folders import Scanned as Scanned
from genvet.engine.folders import scan_folder as scan_folder
from genvet.engine.guarding import Standing as Standing
from genvet.engine.guarding import side_by_side as side_by_side
from genvet.engine.guarding import through as through
from genvet.engine.guarding import worth as worth
from genvet.engine.repairing import beside as beside
from genvet.engine.repairing import repaired as repaired
from genvet.engine.running import assess as assess
from genvet.engine.running import measured as measured
from genvet.engine.scanning import scan as scan
from genvet.engine.shelf import ready as ready
from genvet.engine.shelf import write as write
