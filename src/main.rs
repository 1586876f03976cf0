//! The binary: see `litekeeper --help`.

fn main() -> std::process::ExitCode {
    litekeeper::cli::main()
}
