// What the C++ of a compiled region includes. torch precompiles the first and has every region read the second anew.
#include <torch/csrc/inductor/cpp_wrapper/cpu.h>
#include <torch/csrc/inductor/cpp_prefix.h>
