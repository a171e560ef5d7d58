# Sourced: what a nightly compiler needs to build with AddressSanitizer and libFuzzer's counters.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Zsanitizer=address -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# ONNX Runtime is not built with it, and keeps its thread pools to the end.
export ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0
