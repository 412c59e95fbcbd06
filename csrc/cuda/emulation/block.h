// Runs a block: one fiber a thread, in an order that a seed shuffles, from barrier to barrier.
#pragma once
#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/emulation/fiber.h"
#include "cuda/emulation/types.h"

namespace sparsefit::emulation {

// What a kernel did that a GPU may punish with wrong results, a hang or an error.
class Fault : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Order of blocks, and of threads between barriers; 0 is ascending. No result may depend on it.
inline std::uint64_t order_seed = 1;

// A barrier or warp operation in the source; two threads meet only if they name the same one.
struct Call {
    const char* name = "";
    const char* file = "";
    int line = 0;
    bool operator==(const Call& other) const {
        return line == other.line && std::string(file) == other.file && std::string(name) == other.name;
    }
    std::string text() const {
        return std::string(name) + " (" + std::string(file).substr(std::string(file).rfind('/') + 1) + ":" +
               std::to_string(line) + ")";
    }
};

// How often the threads of the block, and those of the warp, were ordered by a barrier.
struct Time {
    std::uint32_t block = 0, warp = 0;
};

enum class Doing { kRunning, kBlockBarrier, kWarpOperation, kReturned };

struct Thread {
    Fiber fiber;
    int rank = 0;
    uint3 index{};
    Doing doing = Doing::kRunning;
    Call call;
    // Of a warp operation: what the lane brings, and what it takes away.
    unsigned mask = 0;
    bool vote = false, orders = false;
    int source = 0;
    std::uint64_t value = 0, result = 0;
    Time time;

    int warp() const { return rank / 32; }
    int lane() const { return rank % 32; }
    std::string name() const {
        return "thread (" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
               std::to_string(index.z) + ")";
    }
    std::string state() const {
        return name() + (doing == Doing::kReturned ? " has returned" : " waits at " + call.text());
    }
};

class Block {
  public:
    // The thread that runs now.
    inline static Thread* self = nullptr;

    Block(const char* kernel, int threads, std::function<void()> body)
        : kernel_(kernel), body_(std::move(body)) {
        while (pool.size() < static_cast<std::size_t>(threads)) pool.push_back(std::make_unique<Thread>());
        for (int i = 0; i < threads; ++i) {
            Thread& thread = *pool[i];
            thread.rank = i;
            thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
            order_.push_back(&thread);
            threads_.push_back(&thread);
        }
    }

    // Runs block blockIdx to its end, or throws the first fault.
    void run(std::mt19937_64& random) {
        current = this;
        for (Thread* thread : threads_) {
            thread->doing = Doing::kRunning;
            thread->time = {};
            thread->fiber.start(&Block::enter);
        }
        while (true) {
            if (order_seed != 0) std::shuffle(order_.begin(), order_.end(), random);
            for (Thread* thread : order_) {
                if (thread->doing != Doing::kRunning) continue;
                self = thread;
                threadIdx = thread->index;
                thread->fiber.resume();
                if (failure_) std::rethrow_exception(failure_);
            }
            const auto returned = [](Thread* t) { return t->doing == Doing::kReturned; };
            if (std::all_of(threads_.begin(), threads_.end(), returned)) return;
            if (!release_warps() && !release_block()) refuse_divergence();
        }
    }

    // Pauses the thread that runs now until all that it waits for are there.
    static void wait(Doing what, const Call& call) {
        self->doing = what;
        self->call = call;
        Fiber::pause();
    }

    static std::string place() {
        return std::string(current ? current->kernel_ : "outside a kernel") + ", block (" +
               std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " +
               std::to_string(blockIdx.z) + ")";
    }

  private:
    inline static std::vector<std::unique_ptr<Thread>> pool;  // stacks are kept from launch to launch
    inline static Block* current = nullptr;

    static void enter() {
        try {
            current->body_();
        } catch (...) {
            current->failure_ = std::current_exception();
        }
        self->doing = Doing::kReturned;
        Fiber::pause();
    }

    bool release_block() {
        for (const Thread* thread : threads_)
            if (thread->doing != Doing::kBlockBarrier || !(thread->call == threads_[0]->call)) return false;
        for (Thread* thread : threads_) {
            thread->doing = Doing::kRunning;
            ++thread->time.block;
        }
        return true;
    }

    bool release_warps() {
        bool any = false;
        for (Thread* thread : threads_)
            if (thread->doing == Doing::kWarpOperation && complete(*thread)) {
                finish(*thread);
                any = true;
            }
        return any;
    }

    // Whether every lane that the mask names waits in the same operation with the same mask.
    bool complete(const Thread& first) const {
        for (int lane = 0; lane < 32; ++lane) {
            if (!(first.mask >> lane & 1)) continue;
            const std::size_t rank = first.warp() * 32 + lane;
            if (rank >= threads_.size()) return false;
            const Thread& thread = *threads_[rank];
            if (thread.doing != Doing::kWarpOperation || thread.mask != first.mask ||
                !(thread.call == first.call))
                return false;
        }
        return true;
    }

    void finish(const Thread& first) {
        const unsigned mask = first.mask;
        const std::size_t base = first.warp() * 32, end = std::min(base + 32, threads_.size());
        std::uint64_t votes = 0;
        for (std::size_t rank = base; rank < end; ++rank)
            if (mask >> (rank - base) & 1 && threads_[rank]->value)
                votes |= std::uint64_t{1} << (rank - base);
        const unsigned whole = end - base == 32 ? ~0u : (1u << (end - base)) - 1;
        for (std::size_t rank = base; rank < end; ++rank) {
            Thread& thread = *threads_[rank];
            if (!(mask >> (rank - base) & 1)) continue;
            if (!thread.vote && !(mask >> thread.source & 1))
                throw Fault(place() + ", " + thread.name() + ": " + thread.call.text() + " reads lane " +
                            std::to_string(thread.source) + ", which the mask leaves out");
            thread.result = thread.vote ? votes : threads_[base + thread.source]->value;
            thread.doing = Doing::kRunning;
            if (thread.orders && mask == whole) ++thread.time.warp;
        }
    }

    [[noreturn]] void refuse_divergence() const {
        const auto waits = [](const Thread* t) { return t->doing != Doing::kReturned; };
        const Thread& one = **std::find_if(threads_.begin(), threads_.end(), waits);
        const auto differs = [&](const Thread* t) {
            if (one.doing == Doing::kWarpOperation &&
                (t->warp() != one.warp() || !(one.mask >> t->lane() & 1)))
                return false;
            return t->doing != one.doing || t->mask != one.mask || !(t->call == one.call);
        };
        const auto other = std::find_if(threads_.begin(), threads_.end(), differs);
        throw Fault(
            place() + ": divergent barrier: " + one.state() + "; " +
            (other == threads_.end() ? "its mask names a lane that does not exist" : (*other)->state()));
    }

    const char* kernel_;
    std::function<void()> body_;
    std::vector<Thread*> threads_, order_;
    std::exception_ptr failure_;
};

// Ends the kernel with a fault of the thread that runs now.
[[noreturn]] inline void fault(const std::string& what) {
    throw Fault(Block::place() + ", " + (Block::self ? Block::self->name() : "host") + ": " + what);
}

}  // namespace sparsefit::emulation
