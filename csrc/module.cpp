// What is not a tensor op: the SIMD level and what this build is made of. Importing it registers the CPU ops, because
// it links to their library. No tensor type crosses it.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/simd.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  m.doc() = "SIMD level and build facts of gnas_ext.";
  m.def("simd_levels", &gnas::simd_levels, "Instruction sets that can run here, worst first.");
  m.def("simd_level", &gnas::simd_level_name, "The instruction set that the CPU kernels use.");
  m.def("set_simd_level", &gnas::set_simd_level, py::arg("name"),
        "Makes the CPU kernels use an instruction set; ValueError when it is not offered.");
  m.def(
      "build_info",
      [] {
        py::dict info;
        info["compiler"] = GNAS_COMPILER;
        info["torch_headers"] = GNAS_TORCH_VERSION;
        info["cuda"] = GNAS_CUDA_STATE;
        return info;
      },
      "What the native libraries were built with.");
}
