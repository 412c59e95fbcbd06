// Loops on the threads of OpenMP, which torch uses too.
//
// A pool of our own was tried. Alone it was as fast; between operators of torch, whose idle threads spin for
// milliseconds, its threads fought them for the processors, and two of them took up to 1.2 times as long as
// one. A build without OpenMP starts plain threads: ThreadSanitizer sees their joins, and not OpenMP's
// barriers.
#include "threads.h"

#include <exception>
#include <mutex>

#ifndef _OPENMP
#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>
#endif

namespace sparsefit {

void run_tasks(int64_t count, int threads, Task task, const void* body) {
    std::exception_ptr failure;  // it must not leave a thread
    std::mutex mutex;
    const auto attempt = [&](int64_t i) {
        try {
            task(body, i);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex);
            if (!failure) failure = std::current_exception();
        }
    };
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < count; ++i) attempt(i);
#else
    std::atomic<int64_t> next{0};
    const auto work = [&] {
        for (int64_t i; (i = next.fetch_add(1)) < count;) attempt(i);
    };
    std::vector<std::thread> helpers;
    for (int64_t i = 1; i < std::min(int64_t{threads}, count); ++i) {
        try {
            helpers.emplace_back(work);
        } catch (const std::system_error&) {
            break;  // no more threads to be had: those that run, and this one, do the rest
        }
    }
    work();
    for (std::thread& helper : helpers) helper.join();
#endif
    if (failure) std::rethrow_exception(failure);
}

}  // namespace sparsefit
