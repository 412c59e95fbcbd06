// Parallel loop and per-thread scratch memory.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <new>

namespace sparsefit {

// Calls task(body, i) for i in [0, count) on the caller and at most threads - 1
// others; which thread runs which i is not fixed. The first exception is thrown
// again here, after the loop.
using Task = void (*)(const void* body, int64_t i);
void run_tasks(int64_t count, int threads, Task task, const void* body);

template <class Body>
void parallel_for(int64_t count, int threads, const Body& body) {
    if (threads <= 1 || count <= 1) {
        for (int64_t i = 0; i < count; ++i) body(i);
        return;
    }
    run_tasks(count, threads, [](const void* b, int64_t i) { (*static_cast<const Body*>(b))(i); }, &body);
}

// Memory that a thread keeps from call to call: fresh pages at each call cost
// more than a small layer.
class Scratch {
  public:
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { std::free(data_); }

    // Uninitialised floats, aligned to a page, valid until the next call on this
    // object.
    float* floats(int64_t count) {
        if (count > size_) {
            std::free(data_);
            data_ = nullptr;
            size_ = 0;
            const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(float) + 4095) / 4096 * 4096;
            data_ = static_cast<float*>(std::aligned_alloc(4096, bytes));
            if (!data_) throw std::bad_alloc();
            size_ = count;
        }
        return data_;
    }

  private:
    float* data_ = nullptr;
    int64_t size_ = 0;
};

// One scratch per thread and use; `use` tells apart the buffers that are alive
// at the same time.
enum class Use { kInput, kOutput, kEntries, kCount };
inline Scratch& scratch(Use use) {
    thread_local Scratch buffers[static_cast<int>(Use::kCount)];
    return buffers[static_cast<int>(use)];
}

}  // namespace sparsefit
