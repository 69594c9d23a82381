"""The quick compiler: functions go to torch's code generator without a look at Python's bytecode.

It calls private functions of torch, so only `execution/select.py` imports it, which tries it first and falls back to
`torch.compile`.
"""
