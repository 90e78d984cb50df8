// Sorting the entries of a graph by an end, by counting: plain structs and functions, no Torch, no CUDA.
//
// A stable sort has one result, so it may be cut up in any way. Placing each entry by itself waits for memory twice an
// entry as soon as the graph is larger than the caches. So a large graph is sorted in two steps (radix partitioning
// with write buffers; Balkesen et al., 2013): first into buckets of neighbouring keys, through a buffer a bucket so
// that whole cache lines are written; then each bucket, which fits the cache, by key.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace gnas {

// Entries in order, each with a key and with what goes along.
template <class I>
struct Keyed {
  const I* key;     // [count], each to be in 0 … keys - 1
  const I* other;   // [count], what goes along, each to be in 0 … others - 1
  const I* indptr;  // [rows + 1]: the row of an entry goes along; null where `other` does
  int64_t rows;
  int64_t keys;
  int64_t others;
  int64_t count;
};

// The entries by key, and in their old order where keys are equal.
template <class I>
struct Sorted {
  I* indptr;  // [keys + 1], where each key begins
  I* other;   // [count]
  I* edge;    // [count], where each entry stood
};

enum class SortFault { none, out_of_bounds, out_of_memory };
struct SortResult {
  SortFault fault;
  int64_t entry;  // the first that is out of bounds
};

namespace sorting {

constexpr int64_t kSmall = 1 << 17;   // below, all fits the cache and each entry is placed by itself
constexpr int64_t kBucket = 1 << 15;  // entries a bucket, on average: what is sorted at a time fits the L2 cache
constexpr int64_t kPart = 1 << 15;    // entries a part, at least: what one thread takes through the first step
constexpr int64_t kMostParts = 64;
constexpr int64_t kMostBuckets = 1024;
constexpr int64_t kLine = 16;  // entries that a write buffer collects

template <class I>
bool outside(I value, int64_t size) {
  return static_cast<uint64_t>(value) >= static_cast<uint64_t>(size);
}

// Calls f(e, what goes along with e) for e in begin … end - 1.
template <class I, class F>
void for_entries(const Keyed<I>& in, int64_t begin, int64_t end, const F& f) {
  if (in.indptr == nullptr) {
    for (int64_t e = begin; e < end; ++e) f(e, in.other[e]);
    return;
  }
  int64_t row = std::upper_bound(in.indptr, in.indptr + in.rows + 1, static_cast<I>(begin)) - in.indptr - 1;
  for (int64_t e = begin; e < end; ++row) {
    const int64_t row_end = std::min<int64_t>(in.indptr[row + 1], end);
    for (; e < row_end; ++e) f(e, static_cast<I>(row));
  }
}

template <class I>
SortResult sort_small(const Keyed<I>& in, const Sorted<I>& out) {
  for (int64_t k = 0; k <= in.keys; ++k) out.indptr[k] = 0;
  for (int64_t e = 0; e < in.count; ++e) {
    if (outside(in.key[e], in.keys) || (in.indptr == nullptr && outside(in.other[e], in.others)))
      return {SortFault::out_of_bounds, e};
    ++out.indptr[in.key[e] + 1];
  }
  for (int64_t k = 0; k < in.keys; ++k) out.indptr[k + 1] += out.indptr[k];
  // indptr[k] walks to the end of key k while its entries are placed, and is moved back by one key after.
  for_entries(in, 0, in.count, [&](int64_t e, I other) {
    const int64_t place = out.indptr[in.key[e]]++;
    out.other[place] = other;
    out.edge[place] = static_cast<I>(e);
  });
  for (int64_t k = in.keys; k > 0; --k) out.indptr[k] = out.indptr[k - 1];
  out.indptr[0] = 0;
  return {SortFault::none, -1};
}

// What is written to one bucket next. Keys are kept as their place in the bucket.
template <class I>
struct alignas(64) WriteBuffer {
  I other[kLine];
  I edge[kLine];
  uint16_t key[kLine];
};

template <class I>
struct Work {
  int shift;  // key >> shift is the bucket
  int64_t buckets;
  int64_t parts;
  int64_t* place;  // [parts, buckets]: how many entries; then, where the next one goes
  int64_t* first;  // [buckets + 1]: where each bucket begins
  uint16_t* key;   // [count]: the keys, by bucket

  int64_t part_begin(int64_t count, int64_t part) const { return count / parts * part + count % parts * part / parts; }
};

// Step one, of one part: the entries to their buckets, in order.
template <class I>
void fill_buckets(const Keyed<I>& in, const Sorted<I>& out, const Work<I>& work, int64_t part,
                  WriteBuffer<I>* buffers) {
  int64_t* place = work.place + part * work.buckets;
  const std::vector<int64_t> first(place, place + work.buckets);
  const auto flush = [&](int64_t bucket, int64_t from, int64_t until) {
    const WriteBuffer<I>& buffer = buffers[bucket];
    for (int64_t p = from; p < until; ++p) {
      out.other[p] = buffer.other[p & (kLine - 1)];
      out.edge[p] = buffer.edge[p & (kLine - 1)];
      work.key[p] = buffer.key[p & (kLine - 1)];
    }
  };
  const int64_t mask = (int64_t{1} << work.shift) - 1;
  for_entries(in, work.part_begin(in.count, part), work.part_begin(in.count, part + 1), [&](int64_t e, I other) {
    const int64_t bucket = static_cast<int64_t>(in.key[e]) >> work.shift;
    const int64_t p = place[bucket]++;
    WriteBuffer<I>& buffer = buffers[bucket];
    const int64_t slot = p & (kLine - 1);
    buffer.other[slot] = other;
    buffer.edge[slot] = static_cast<I>(e);
    buffer.key[slot] = static_cast<uint16_t>(in.key[e] & mask);
    if (slot != kLine - 1) return;
    const int64_t line = p - slot;
    if (line < first[bucket]) return flush(bucket, first[bucket], p + 1);
    std::memcpy(out.other + line, buffer.other, sizeof buffer.other);
    std::memcpy(out.edge + line, buffer.edge, sizeof buffer.edge);
    std::memcpy(work.key + line, buffer.key, sizeof buffer.key);
  });
  for (int64_t b = 0; b < work.buckets; ++b) flush(b, std::max(first[b], place[b] & -kLine), place[b]);
}

// Step two, of one bucket: by key, in place; `copy` has room for the bucket twice.
template <class I>
void sort_bucket(const Keyed<I>& in, const Sorted<I>& out, const Work<I>& work, int64_t bucket, I* copy) {
  const int64_t begin = work.first[bucket];
  const int64_t size = work.first[bucket + 1] - begin;
  const int64_t key_begin = bucket << work.shift;
  const int64_t keys = std::min(in.keys - key_begin, int64_t{1} << work.shift);
  I* next = out.indptr + key_begin;
  const uint16_t* key = work.key + begin;
  std::fill(next, next + keys, I{0});
  for (int64_t n = 0; n < size; ++n) ++next[key[n]];
  I sum = static_cast<I>(begin);
  for (int64_t k = 0; k < keys; ++k) {
    const I count = next[k];
    next[k] = sum;
    sum += count;
  }
  std::memcpy(copy, out.other + begin, sizeof(I) * size);
  std::memcpy(copy + size, out.edge + begin, sizeof(I) * size);
  for (int64_t n = 0; n < size; ++n) {
    const I p = next[key[n]]++;
    out.other[p] = copy[n];
    out.edge[p] = copy[size + n];
  }
  for (int64_t k = keys - 1; k > 0; --k) next[k] = next[k - 1];
  if (keys > 0) next[0] = static_cast<I>(begin);
}

template <class I>
Work<I> plan(const Keyed<I>& in) {
  Work<I> work{};
  const int64_t wanted = std::clamp<int64_t>(in.count / kBucket, 1, kMostBuckets);
  while (work.shift < 16 && (in.keys >> work.shift) >= wanted) ++work.shift;
  work.buckets = (in.keys >> work.shift) + 1;
  work.parts = std::clamp<int64_t>(in.count / kPart, 1, kMostParts);
  return work;
}

// How many entries of a part each bucket gets; the first entry out of bounds, or -1.
template <class I>
int64_t count_part(const Keyed<I>& in, const Work<I>& work, int64_t part) {
  const int64_t begin = work.part_begin(in.count, part);
  const int64_t end = work.part_begin(in.count, part + 1);
  int64_t* counts = work.place + part * work.buckets;
  std::fill(counts, counts + work.buckets, 0);
  for (int64_t e = begin; e < end; ++e) {
    if (outside(in.key[e], in.keys)) return e;
    ++counts[static_cast<int64_t>(in.key[e]) >> work.shift];
  }
  if (in.indptr != nullptr) return -1;
  for (int64_t e = begin; e < end; ++e)
    if (outside(in.other[e], in.others)) return e;
  return -1;
}

}  // namespace sorting

// Sorts by key. run(n, f) calls f(begin, end) so that 0 … n - 1 are covered, on any threads.
template <class I, class Run>
SortResult sort_by_key(const Keyed<I>& in, const Sorted<I>& out, const Run& run) {
  using namespace sorting;
  if (in.count < kSmall || in.keys == 0) return sort_small(in, out);
  Work<I> work = plan(in);
  std::vector<int64_t> place(work.parts * work.buckets);
  std::vector<int64_t> first(work.buckets + 1);
  std::vector<int64_t> faults(work.parts);
  const std::unique_ptr<uint16_t[]> key(new uint16_t[in.count]);
  work.place = place.data();
  work.first = first.data();
  work.key = key.get();

  run(work.parts, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) faults[part] = count_part(in, work, part);
  });
  for (const int64_t fault : faults)
    if (fault >= 0) return {SortFault::out_of_bounds, fault};
  int64_t sum = 0;
  int64_t largest = 0;
  for (int64_t b = 0; b < work.buckets; ++b) {
    first[b] = sum;
    for (int64_t part = 0; part < work.parts; ++part) {
      const int64_t count = place[part * work.buckets + b];
      place[part * work.buckets + b] = sum;
      sum += count;
    }
    largest = std::max(largest, sum - first[b]);
  }
  first[work.buckets] = sum;

  // A thread that finds no memory says so: an exception may not leave it.
  bool enough = true;
  const auto with_room = [&](auto* room, const auto& f) {
    const std::unique_ptr<std::remove_pointer_t<decltype(room)>[]> owner(room);
    if (room == nullptr)
      __atomic_store_n(&enough, false, __ATOMIC_RELAXED);
    else
      f(room);
  };
  run(work.parts, [&](int64_t begin, int64_t end) {
    with_room(new (std::nothrow) WriteBuffer<I>[work.buckets], [&](WriteBuffer<I>* buffers) {
      for (int64_t part = begin; part < end; ++part) fill_buckets(in, out, work, part, buffers);
    });
  });
  // Groups of buckets with about as many entries each.
  run(work.parts, [&](int64_t begin, int64_t end) {
    with_room(new (std::nothrow) I[2 * largest], [&](I* copy) {
      const auto bucket_at = [&](int64_t part) {
        return std::lower_bound(first.begin(), first.end() - 1, work.part_begin(in.count, part)) - first.begin();
      };
      const int64_t last = end == work.parts ? work.buckets : bucket_at(end);
      for (int64_t b = begin == 0 ? 0 : bucket_at(begin); b < last; ++b) sort_bucket(in, out, work, b, copy);
    });
  });
  out.indptr[in.keys] = static_cast<I>(in.count);
  return {enough ? SortFault::none : SortFault::out_of_memory, -1};
}

}  // namespace gnas
