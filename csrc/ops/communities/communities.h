// Which nodes belong together, by label propagation: plain functions, no Torch, no CUDA.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "core/random.h"

namespace gnas {

// Among labels with as many votes: by chance, but by the same at every run. The lowest label would spread like a
// plague.
inline uint32_t preference(int64_t node, int64_t label) {
  const auto low = [](int64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](int64_t x) { return static_cast<uint32_t>(x >> 32); };
  return philox4x32({{low(label), high(label), low(node), high(node)}}, 0, 0).word[0];
}

inline bool preferred(int64_t node, int64_t label, int64_t to) {
  const uint32_t one = preference(node, label);
  const uint32_t other = preference(node, to);
  return one != other ? one > other : label < to;
}

// Each node in turn takes the label that most of its neighbours have, of those that fewer than `most` nodes have
// (Raghavan, Albert and Kumara, 2007; with bounded sizes, Ugander and Backstrom, 2013); its own wins among equals. One
// thread: each node sees what those before it chose, so that two do not swap labels for ever.
template <class I>
void propagate_labels(const I* indptr, const I* indices, int64_t nodes, int64_t most, int64_t rounds, I* label) {
  std::iota(label, label + nodes, I{0});
  std::vector<int64_t> size(nodes, 1);
  struct Votes {
    int64_t voter;
    int64_t count;
  };
  std::vector<Votes> votes(nodes, {-1, 0});
  bool moved = true;
  for (int64_t round = 0; round < rounds && moved; ++round) {
    moved = false;
    for (int64_t node = 0; node < nodes; ++node) {
      const int64_t voter = round * nodes + node;
      const I own = label[node];
      const int64_t begin = indptr[node];
      const int64_t end = indptr[node + 1];
      for (int64_t e = begin; e < end; ++e) {
        if (indices[e] == node) continue;
        Votes& of = votes[label[indices[e]]];
        of = {voter, (of.voter == voter ? of.count : 0) + 1};
      }
      I best = own;
      int64_t most_votes = votes[own].voter == voter ? votes[own].count : 0;
      for (int64_t e = begin; e < end; ++e) {
        const I other = label[indices[e]];
        if (other == best || votes[other].voter != voter || votes[other].count < most_votes || size[other] >= most)
          continue;
        const bool tie = votes[other].count == most_votes;
        if (tie && (best == own || !preferred(node, other, best))) continue;
        best = other;
        most_votes = votes[other].count;
      }
      if (best == own) continue;
      --size[own];
      ++size[best];
      label[node] = best;
      moved = true;
    }
  }
}

}  // namespace gnas
