// The operations on blocked tensors of one instruction set. They do little arithmetic: what counts is that
// memory is read and written once, in order. A plane is one channel of one block.
//
// Tried: lane loops over arrays, left to the compiler; its accumulators went through memory at every window
// pixel. Vectors of the machine's own width, below, stay in registers, and the same body serves single
// floats.

// COUNT floats, the places that belong to them, and how both go to memory.
template <int COUNT>
struct Register;

template <>
struct Register<1> {
    typedef float Float;
    typedef int32_t Int;
    static Float load(const float* p) { return *p; }
    static void store(float* p, Float v) { *p = v; }
    static Int load(const uint8_t* p) { return *p; }
    static void store(uint8_t* p, Int place) { *p = static_cast<uint8_t>(place); }
};

// Spelt out for each size: GCC takes no vector size that depends on a template parameter where it converts
// vectors.
#define SPARSEFIT_REGISTER(COUNT)                                                   \
    template <>                                                                     \
    struct Register<COUNT> {                                                        \
        typedef float Float __attribute__((vector_size(COUNT * 4)));                \
        typedef int32_t Int __attribute__((vector_size(COUNT * 4)));                \
        typedef uint8_t Byte __attribute__((vector_size(COUNT)));                   \
        static Float load(const float* p) {                                         \
            Float v;                                                                \
            __builtin_memcpy(&v, p, sizeof v);                                      \
            return v;                                                               \
        }                                                                           \
        static void store(float* p, Float v) { __builtin_memcpy(p, &v, sizeof v); } \
        static Int load(const uint8_t* p) {                                         \
            Byte v;                                                                 \
            __builtin_memcpy(&v, p, sizeof v);                                      \
            return __builtin_convertvector(v, Int);                                 \
        }                                                                           \
        static void store(uint8_t* p, Int places) {                                 \
            const Byte v = __builtin_convertvector(places, Byte);                   \
            __builtin_memcpy(p, &v, sizeof v);                                      \
        }                                                                           \
    };
// The sizes that this instruction set lacks are never used; GCC warns of them all the same.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
SPARSEFIT_REGISTER(2)
SPARSEFIT_REGISTER(4)
SPARSEFIT_REGISTER(8)
SPARSEFIT_REGISTER(16)
#pragma GCC diagnostic pop
#undef SPARSEFIT_REGISTER

// Of a blocked vector, as many lanes as a register holds. (Two lanes are a vector too: as floats, one by one,
// they take branches that are hard to predict.)
template <int LANES>
struct Lanes : Register<(LANES < kRegisterFloats ? LANES : kRegisterFloats)> {
    static constexpr int kCount = LANES < kRegisterFloats ? LANES : kRegisterFloats;
};

// Calls body with the number of lanes as a constant.
template <class Body>
void with_lanes(int lanes, const Body& body) {
    switch (lanes) {
        case 16:
            return body(std::integral_constant<int, 16>());
        case 8:
            return body(std::integral_constant<int, 8>());
        case 4:
            return body(std::integral_constant<int, 4>());
        case 2:
            return body(std::integral_constant<int, 2>());
        default:
            return body(std::integral_constant<int, 1>());
    }
}

// Writes zeros into the lanes of a plane that hold no image.
inline void clear_lanes(float* plane, int64_t vectors, int lanes, int images) {
    if (images == lanes) return;
    for (int64_t i = 0; i < vectors; ++i)
        for (int lane = images; lane < lanes; ++lane) plane[i * lanes + lane] = 0.0f;
}
