// The ceiling that benchmarks divide by: independent multiply-adds on registers, no memory.
double fma_peak(double seconds) {
    using Clock = std::chrono::steady_clock;
    Vec chains[kFmaChains];
    for (Vec& chain : chains) chain = broadcast(1.0f);
    volatile float opaque = 0.999f;  // else the compiler computes the result itself
    const Vec factor = broadcast(opaque), term = broadcast(1.0f - opaque);
    constexpr int kRounds = 20000;
    const auto start = Clock::now();
    double best = 1e30, elapsed = 0;
    do {
        const auto lap = Clock::now();
        for (int i = 0; i < kRounds; ++i)
            for (Vec& chain : chains) chain = fma(chain, factor, term);
        const auto now = Clock::now();
        best = std::min(best, std::chrono::duration<double>(now - lap).count());
        elapsed = std::chrono::duration<double>(now - start).count();
    } while (elapsed < seconds);
    Vec total = broadcast(0.0f);
    for (const Vec& chain : chains) total = add(total, chain);
    volatile float sink = sum(total);  // the result must seem to be used
    (void)sink;
    return 2.0 * kLanes * kFmaChains * kRounds / best * 1e-9;
}
