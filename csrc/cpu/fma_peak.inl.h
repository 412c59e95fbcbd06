// The ceilings of the benchmarks: independent multiply-adds on registers, or with one factor from L1, as a
// tile kernel has it.

// Seconds that `rounds` of kFmaChains multiply-adds take.
template <bool FROM_MEMORY>
double fma_seconds(const float (&factors)[kFmaChains * kLanes], int rounds) {
    using Clock = std::chrono::steady_clock;
    Vec chains[kFmaChains];
    const Vec factor = load(factors), term = broadcast(1.0f - factors[0]);
    // From memory: chains that start equal would be one to a compiler.
    SPARSEFIT_UNROLL for (int k = 0; k < kFmaChains; ++k) chains[k] = load(factors + k * kLanes);
    const auto start = Clock::now();
    for (int i = 0; i < rounds; ++i) {
        if (FROM_MEMORY) asm volatile("" ::"r"(factors) : "memory");  // else they are loaded once
        SPARSEFIT_UNROLL for (int k = 0; k < kFmaChains; ++k) chains[k] =
            FROM_MEMORY ? fma(term, load(factors + k * kLanes), chains[k]) : fma(chains[k], factor, term);
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    Vec total = broadcast(0.0f);
    SPARSEFIT_UNROLL for (int k = 0; k < kFmaChains; ++k) total = add(total, chains[k]);
    volatile float sink = sum(total);  // the result must seem to be used
    (void)sink;
    return seconds;
}

double fma_peak(double seconds, bool from_memory) {
    constexpr int kRounds = 20000;
    volatile float opaque = 0.999f;  // else the compiler computes the result itself
    alignas(64) float factors[kFmaChains * kLanes];
    std::fill_n(factors, kFmaChains * kLanes, opaque);
    double best = 1e30;
    for (double elapsed = 0; elapsed < seconds;) {
        const double lap =
            from_memory ? fma_seconds<true>(factors, kRounds) : fma_seconds<false>(factors, kRounds);
        best = std::min(best, lap);
        elapsed += lap;
    }
    return 2.0 * kLanes * kFmaChains * kRounds / best * 1e-9;
}
