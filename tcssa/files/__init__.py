"""Guards around every file that comes in: a damaged or hostile one ends in an error that names it.

One module a kind of guard: `boundary` (whatever a library raises becomes our error), `limits`
(sizes are checked before memory is taken), `text` (UTF-8 and JSON), `table` (CSV and TSV),
`yaml_file`, `hdf5`, `pickled` (pickles without Python's unpickler), `npy`, `torch_file`, `tensors`
(safetensors), `picture` and `label_picture`. SECURITY.md lists which kind of file passes through
which of them.
"""
