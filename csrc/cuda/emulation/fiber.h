// A function on a stack of its own, which can pause: one emulated CUDA thread.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <memory>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace sparsefit::emulation {

class Fiber {
  public:
    // The next resume() calls entry(), which must end with pause().
    void start(void (*entry)()) {
        if (!stack_) stack_ = std::make_unique<std::byte[]>(kStack);
        getcontext(&context_);
        context_.uc_stack.ss_sp = stack_.get();
        context_.uc_stack.ss_size = kStack;
        context_.uc_link = nullptr;
        makecontext(&context_, &Fiber::enter, 0);
        entry_ = entry;
        fresh_ = true;
    }

    // Runs until the fiber pauses.
    void resume() {
        running = this;
#if defined(__SANITIZE_ADDRESS__)
        void* fake = nullptr;
        __sanitizer_start_switch_fiber(&fake, stack_.get(), kStack);
        swapcontext(&scheduler_context, &context_);
        __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
        // setjmp switches without the system call for the signal mask that swapcontext makes.
        if (_setjmp(scheduler_jump)) return;
        if (!fresh_) _longjmp(jump_, 1);
        fresh_ = false;
        setcontext(&context_);
#endif
    }

    // Called on a fiber: back to resume().
    static void pause() {
#if defined(__SANITIZE_ADDRESS__)
        void* fake = nullptr;
        __sanitizer_start_switch_fiber(&fake, scheduler_stack, scheduler_size);
        swapcontext(&running->context_, &scheduler_context);
        __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_size);
#else
        if (!_setjmp(running->jump_)) _longjmp(scheduler_jump, 1);
#endif
    }

  private:
#if defined(__SANITIZE_ADDRESS__)
    static constexpr std::size_t kStack = 256 * 1024;  // redzones make frames larger
    inline static ucontext_t scheduler_context;
    inline static const void* scheduler_stack;
    inline static std::size_t scheduler_size;
#else
    static constexpr std::size_t kStack = 64 * 1024;
    inline static jmp_buf scheduler_jump;
#endif
    inline static Fiber* running;

    static void enter() {
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
        running->entry_();
    }

    ucontext_t context_;
    jmp_buf jump_;
    std::unique_ptr<std::byte[]> stack_;
    void (*entry_)() = nullptr;
    bool fresh_ = true;
};

}  // namespace sparsefit::emulation
