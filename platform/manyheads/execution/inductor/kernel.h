// What the C++ of a compiled function includes. torch precompiles the first and has every function read the second anew.
#include <torch/csrc/inductor/cpp_wrapper/cpu.h>
#include <torch/csrc/inductor/cpp_prefix.h>

#if defined(__GNUC__) && !defined(__clang__)
// The calls of a function's kernels: there is no loop in them, and optimised they take as long to compile as all kernels.
__attribute__((optimize("O1"))) void inductor_entry_impl(AtenTensorHandle*, AtenTensorHandle*);
#endif
