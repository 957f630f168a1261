"""Makes src/genvet/files/texts/fingerprints.json from clones of the published repositories.

    python benchmarks/fingerprints.py CLONES

CLONES is a folder of clones, bare or not, each named OWNER+NAME or OWNER/NAME (`git clone --bare URL
CLONES/NVlabs/stylegan3`). Every version of the files below on the main branch is read; only fingerprints are kept.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

from genvet.files.texts.fingerprints import pieces, plain, sha256, tree_hash

OUT = Path(__file__).parents[1] / "src" / "genvet" / "files" / "texts" / "fingerprints.json"

# Earlier rows name what later ones share with them.
FILES = {
    "NVlabs/stylegan2-ada-pytorch": ["training/networks.py", "training/augment.py"],
    "NVlabs/stylegan3": [
        "training/networks_stylegan2.py",
        "training/networks_stylegan3.py",
        "training/augment.py",
    ],
    "NVlabs/stylegan": ["training/networks_stylegan.py", "training/networks_progan.py"],
    "NVlabs/stylegan2": [
        "training/networks_stylegan.py",
        "training/networks_stylegan2.py",
    ],
    "NVlabs/stylegan2-ada": ["training/networks.py", "training/augment.py"],
    "autonomousvision/stylegan-xl": [
        "training/networks_stylegan2.py",
        "training/networks_stylegan3.py",
        "training/networks_stylegan3_resetting.py",
        "training/networks_fastgan.py",
        "training/augment.py",
        "pg_modules/blocks.py",
        "pg_modules/diffaug.py",
        "pg_modules/discriminator.py",
        "pg_modules/projector.py",
    ],
    "dvschultz/stylegan2-ada-pytorch": ["training/networks.py", "training/augment.py"],
}


def git(folder: Path, *args: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), *args], check=True, capture_output=True).stdout


def clone(folder: Path, repository: str) -> Path:
    for place in (folder / repository, folder / repository.replace("/", "+")):
        for inner in (place, place / "repo"):
            if inner.is_dir() and (inner / "HEAD").exists() | (inner / ".git").exists():
                return inner
    raise SystemExit(f"{folder} holds no clone of {repository}")


def versions(repo: Path, path: str) -> list[tuple[str, str]]:
    """(date, text) of every version of a file on the main branch, oldest first."""
    log = git(repo, "log", "--format=%H %cs", "HEAD", "--", path).decode().split("\n")
    found: dict[str, str] = {}
    for line in reversed([x for x in log if x]):
        commit, date = line.split()
        try:
            text = plain(git(repo, "show", f"{commit}:{path}").decode("utf-8"))
        except subprocess.CalledProcessError:  # the commit that removed it
            continue
        found.setdefault(text, date)
    return [(date, text) for text, date in found.items()]


def main(folder: Path) -> None:
    table: dict[str, dict[str, str]] = {"texts": {}, "trees": {}, "pieces": {}}
    for repository, paths in FILES.items():
        repo = clone(folder, repository)
        for path in paths:
            for date, text in versions(repo, path):
                release = f"{repository} {path} ({date})"
                try:
                    tree = ast.parse(text)
                except SyntaxError as error:  # it never ran
                    print(f"{release}: {error}", file=sys.stderr)
                    continue
                table["texts"].setdefault(sha256(text), release)
                table["trees"].setdefault(tree_hash(tree), release)
                for _, node in pieces(tree):
                    table["pieces"].setdefault(tree_hash(node), release)
                print(release)
    OUT.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", "utf-8")
    print({kind: len(hashes) for kind, hashes in table.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
