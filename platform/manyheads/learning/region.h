// What the C++ of a compiled region includes. torch precompiles the first and has every region read the second anew.
#include <torch/csrc/inductor/cpp_wrapper/cpu.h>
#include <torch/csrc/inductor/cpp_prefix.h>

#if defined(__GNUC__) && !defined(__clang__)
// A region's calls of its kernels: no loop is in there, and optimised they take the compiler as long as all kernels.
__attribute__((optimize("O1"))) void inductor_entry_impl(AtenTensorHandle*, AtenTensorHandle*);
#endif
