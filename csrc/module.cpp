// What is not a tensor op: the SIMD level, the pool of outputs and what this build is made of. Importing it registers
// the CPU ops, because it links to their library. No tensor type crosses it.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/pool.h"
#include "core/simd.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  m.doc() = "SIMD level, pool of outputs and build facts of gnas_ext.";
  m.def("simd_levels", &gnas::simd_levels, "Instruction sets that can run here, worst first.");
  m.def("simd_level", &gnas::simd_level_name, "The instruction set that the CPU kernels use.");
  m.def("set_simd_level", &gnas::set_simd_level, py::arg("name"),
        "Makes the CPU kernels use an instruction set; ValueError when it is not offered.");
  m.def("vnni", &gnas::vnni, "Do the kernels of avx512 use its dot products of bytes?");
  m.def("set_vnni", &gnas::set_vnni, py::arg("enabled"),
        "Whether they do; ValueError when the machine does not offer them.");
  m.def(
      "pool_stats",
      [] {
        const gnas::pool::Stats stats = gnas::pool::stats();
        py::dict found;
        found["limit"] = stats.limit;
        found["kept"] = stats.kept;
        found["in_use"] = stats.in_use;
        found["reused"] = stats.reused;
        found["mapped"] = stats.mapped;
        return found;
      },
      "Bytes and blocks of the pool.");
  m.def("pool_set_limit", &gnas::pool::set_limit, py::arg("limit"), py::call_guard<py::gil_scoped_release>(),
        "How many unused bytes the pool may keep; 0 switches it off.");
  m.def("pool_trim", &gnas::pool::trim, py::call_guard<py::gil_scoped_release>(),
        "Unmaps what is unused; how many bytes that was.");
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
