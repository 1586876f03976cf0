//! The binary: see `litekeeper --help`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    litekeeper::main()
}
