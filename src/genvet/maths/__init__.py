"""Pure functions of tensors. No files, no generators."""
