// Shared memory that knows, for each 4-byte word, who wrote and who read it last, and when.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda/emulation/block.h"

namespace sparsefit::emulation {

// The threads that touched a word since the last barrier that they share.
class Access {
  public:
    void add(const Thread& thread) {
        if (nobody()) {
            who_ = thread.rank;
        } else if (when_.block < thread.time.block) {
            who_ = thread.rank;
        } else if (who_ != thread.rank) {
            who_ = warp() == thread.warp() ? -2 - thread.warp() : kSeveralWarps;
        }
        when_ = thread.time;
    }
    bool nobody() const { return who_ == kNobody; }
    // Whether a barrier lies between those accesses and what the thread does now.
    bool before(const Thread& thread) const {
        return nobody() || who_ == thread.rank || when_.block < thread.time.block ||
               (warp() == thread.warp() && when_.warp < thread.time.warp);
    }
    std::string text() const {
        return who_ >= 0 ? "thread " + std::to_string(who_) + " of the block" : "other threads";
    }

  private:
    static constexpr int kNobody = -1, kSeveralWarps = -1000;
    int warp() const { return who_ >= 0 ? who_ / 32 : who_ == kSeveralWarps ? -1 : -2 - who_; }

    int who_ = kNobody;
    Time when_;
};

class Segment {
  public:
    Segment(std::string name, std::size_t bytes)
        : name_(std::move(name)), bytes_(bytes), words_((bytes + 3) / 4) {}

    const std::string& name() const { return name_; }
    std::size_t size() const { return bytes_.size(); }

    // What a new block finds: nothing written, NaN in every float.
    void poison() {
        std::fill(bytes_.begin(), bytes_.end(), 0xff);
        std::fill(words_.begin(), words_.end(), Word{});
    }

    template <class T>
    T read(std::size_t byte) {
        for (std::size_t i = byte / 4; i < (byte + sizeof(T)) / 4; ++i) {
            Word& word = words_[i];
            if (word.writes.nobody()) fault("read of shared memory that nobody wrote: word " + place(i));
            if (!word.writes.before(*Block::self))
                fault("race: reads word " + place(i) + ", which " + word.writes.text() +
                      " wrote, without a barrier between");
            word.reads.add(*Block::self);
        }
        T value;
        std::memcpy(&value, bytes_.data() + byte, sizeof(T));
        return value;
    }

    template <class T>
    void write(std::size_t byte, const T& value) {
        for (std::size_t i = byte / 4; i < (byte + sizeof(T)) / 4; ++i) {
            Word& word = words_[i];
            for (const Access* earlier : {&word.writes, &word.reads})
                if (!earlier->before(*Block::self))
                    fault("race: writes word " + place(i) + ", which " + earlier->text() +
                          (earlier == &word.writes ? " wrote" : " read") + ", without a barrier between");
            word.writes = Access();
            word.writes.add(*Block::self);
        }
        std::memcpy(bytes_.data() + byte, &value, sizeof(T));
    }

  private:
    struct Word {
        Access writes, reads;
    };
    std::string place(std::size_t word) const { return std::to_string(word) + " of " + name_; }

    std::string name_;
    std::vector<unsigned char> bytes_;
    std::vector<Word> words_;
};

// An element of shared memory: converts to T when read.
template <class T>
class Element {
  public:
    using Value = std::remove_const_t<T>;
    static_assert(sizeof(T) % 4 == 0, "elements of shared memory are made of 4-byte words");

    Element(Segment* segment, std::size_t byte) : segment_(segment), byte_(byte) {}
    Element(const Element&) = default;
    operator Value() const { return segment_->read<Value>(byte_); }
    const Element& operator=(const Value& value) const {
        static_assert(!std::is_const_v<T>, "this shared memory is const");
        segment_->write(byte_, value);
        return *this;
    }
    const Element& operator=(const Element& other) const { return *this = static_cast<Value>(other); }
    const Element& operator+=(const Value& value) const { return *this = static_cast<Value>(*this) + value; }

  private:
    Segment* segment_;
    std::size_t byte_;
};

// Pointer into the `count` elements of a segment.
template <class T>
class Shared {
  public:
    Shared(Segment* segment, std::int64_t count, std::int64_t at = 0)
        : segment_(segment), count_(count), at_(at) {}
    operator Shared<const T>() const { return {segment_, count_, at_}; }

    Element<T> operator[](std::int64_t i) const { return {segment_, byte(i, 1, sizeof(T) % 16 ? 4 : 16)}; }
    Element<T> operator*() const { return (*this)[0]; }
    Shared operator+(std::int64_t n) const { return {segment_, count_, at_ + n}; }
    Shared operator-(std::int64_t n) const { return *this + -n; }
    Shared& operator+=(std::int64_t n) { return at_ += n, *this; }

    // Where `count` elements from i start, in bytes of the segment, if they exist and lie on an alignment.
    std::size_t byte(std::int64_t i, int count, std::size_t alignment) const {
        const std::int64_t element = at_ + i;
        if (element < 0 || element + count > count_)
            fault("out of bounds: element " + std::to_string(element + count - 1) + " of shared " +
                  segment_->name() + ", which has " + std::to_string(count_));
        const std::size_t byte = element * sizeof(T);
        if (byte % alignment)
            fault("unaligned access of " + std::to_string(count * sizeof(T)) + " bytes at byte " +
                  std::to_string(byte) + " of shared " + segment_->name());
        return byte;
    }
    Segment& segment() const { return *segment_; }

  private:
    Segment* segment_;
    std::int64_t count_, at_;
};

}  // namespace sparsefit::emulation
