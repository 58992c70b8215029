//! `logweir`: the operators' command.

fn main() -> std::process::ExitCode {
    console::main()
}
