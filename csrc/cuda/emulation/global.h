// Global memory with bounds: a pointer that knows the array it points into.
#pragma once
#include <cstdint>
#include <string>

#include "cuda/emulation/block.h"

namespace sparsefit::emulation {

template <class T>
class Global {
  public:
    Global() : Global(nullptr, 0, "memory that was never named") {}
    Global(T* data, std::int64_t count, const char* name, std::int64_t at = 0)
        : data_(data), count_(count), at_(at), name_(name) {}
    operator Global<const T>() const { return {data_, count_, name_, at_}; }
    explicit operator bool() const { return data_ != nullptr; }

    T& operator[](std::int64_t i) const { return *address(i, 1); }
    T& operator*() const { return *address(0, 1); }
    Global operator+(std::int64_t n) const { return {data_, count_, name_, at_ + n}; }
    Global operator-(std::int64_t n) const { return *this + -n; }
    Global& operator+=(std::int64_t n) { return at_ += n, *this; }

    // Of `count` elements from i, if they exist and lie on a multiple of their size.
    T* address(std::int64_t i, int count) const {
        const std::int64_t element = at_ + i;
        if (element < 0 || element + count > count_ || !data_)
            fault("out of bounds: element " + std::to_string(element + count - 1) + " of global " + name_ +
                  ", which has " + std::to_string(count_));
        T* const address = data_ + element;
        if (reinterpret_cast<std::uintptr_t>(address) % (count * sizeof(T)))
            fault("unaligned access of " + std::to_string(count * sizeof(T)) + " bytes at element " +
                  std::to_string(element) + " of global " + name_);
        return address;
    }

  private:
    T* data_;
    std::int64_t count_, at_;
    const char* name_;
};

template <class T>
Global<T> global(T* data, std::int64_t count, const char* name) {
    return {data, count, name};
}

}  // namespace sparsefit::emulation
