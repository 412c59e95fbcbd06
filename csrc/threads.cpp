// A pool of threads for loops of a few microseconds and more.
//
// A worker that has nothing to do spins for a moment, because the next loop of
// a layer mostly follows at once and waking a sleeper takes 5 to 50
// microseconds, and then sleeps. OpenMP was tried: its threads spin for
// milliseconds, so on a processor shared with other work two threads were
// slower than one, and ThreadSanitizer cannot see its barriers.
#include "threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace sparsefit {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);

void relax() {
#if defined(__x86_64__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}

// Spins until ready() or for kSpin; the clock is read now and then only.
template <class Ready>
bool spin(const Ready& ready) {
    const auto end = std::chrono::steady_clock::now() + kSpin;
    do {
        for (int i = 0; i < 64; ++i) {
            if (ready()) return true;
            relax();
        }
    } while (std::chrono::steady_clock::now() < end);
    return ready();
}

class Pool {
  public:
    // Whether the pool is free; then it runs the loop.
    bool run(int64_t count, int threads, Task task, const void* body) {
        if (busy_.exchange(true, std::memory_order_acquire)) return false;
        struct Release {
            std::atomic<bool>& busy;
            ~Release() { busy.store(false, std::memory_order_release); }
        } release{busy_};
        grow(threads - 1);
        task_ = task, body_ = body, count_ = count, failure_ = nullptr;
        next_.store(0, std::memory_order_relaxed);
        // Workers with a higher id sit this loop out.
        const int helpers = static_cast<int>(std::min({int64_t{threads} - 1, count - 1, size()}));
        working_.store(helpers, std::memory_order_relaxed);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            helpers_ = helpers;
            round_.store(round_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        }
        if (sleepers_.load(std::memory_order_relaxed) > 0) wake_.notify_all();
        take_tasks();
        const auto done = [this] { return working_.load(std::memory_order_acquire) == 0; };
        if (!spin(done)) {
            std::unique_lock<std::mutex> lock(mutex_);
            finished_.wait(lock, done);
        }
        if (failure_) std::rethrow_exception(failure_);
        return true;
    }

  private:
    int64_t size() const { return static_cast<int64_t>(workers_.size()); }

    void grow(int wanted) {
        try {
            while (size() < wanted) workers_.emplace_back([this, id = size()] { work(id); });
        } catch (const std::system_error&) {  // no more threads to be had: those that are there do it
        }
    }

    void take_tasks() {
        try {
            for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) task_(body_, i);
        } catch (...) {
            next_.store(count_, std::memory_order_relaxed);
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!failure_) failure_ = std::current_exception();
        }
    }

    void work(int64_t id) {
        for (uint64_t seen = 0;;) {
            const auto called = [&] { return round_.load(std::memory_order_acquire) != seen; };
            int helpers;
            if (!spin(called)) {
                std::unique_lock<std::mutex> lock(mutex_);
                sleepers_.fetch_add(1, std::memory_order_relaxed);
                wake_.wait(lock, called);
                sleepers_.fetch_sub(1, std::memory_order_relaxed);
            }
            {
                const std::lock_guard<std::mutex> lock(mutex_);
                seen = round_.load(std::memory_order_relaxed), helpers = helpers_;
            }
            if (id >= helpers) continue;
            take_tasks();
            if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                const std::lock_guard<std::mutex> lock(mutex_);
                finished_.notify_one();
            }
        }
    }

    std::atomic<bool> busy_{false};
    std::vector<std::thread> workers_;
    Task task_ = nullptr;
    const void* body_ = nullptr;
    int64_t count_ = 0;
    std::exception_ptr failure_;
    alignas(64) std::atomic<int64_t> next_{0};
    alignas(64) std::atomic<int> working_{0};
    alignas(64) std::atomic<uint64_t> round_{0};
    std::atomic<int> sleepers_{0};
    int helpers_ = 0;
    std::mutex mutex_;
    std::condition_variable wake_, finished_;
};

// Never destroyed: its threads may sleep on it until the process ends. A forked
// child has none of them, and starts a pool of its own.
std::atomic<Pool*> current{nullptr};

Pool& pool() {
    static const bool once = [] {
        current = new Pool;
#if defined(__unix__) || defined(__APPLE__)
        pthread_atfork(nullptr, nullptr, [] { current = new Pool; });
#endif
        return true;
    }();
    (void)once;
    return *current.load(std::memory_order_relaxed);
}

}  // namespace

void run_tasks(int64_t count, int threads, Task task, const void* body) {
    if (pool().run(count, threads, task, body)) return;
    for (int64_t i = 0; i < count; ++i) task(body, i);
}

}  // namespace sparsefit
