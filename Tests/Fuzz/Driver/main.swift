import Glibc

// libFuzzer drives one parser: `fuzz PARSER [libFuzzer's arguments]`. What it finds ends the process, with the input in
// a file.

/// libFuzzer's own main without the main (llvm/lib/Fuzzer, FuzzerDriver.cpp).
@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// The parser that this process drives.
nonisolated(unsafe) var chosen = Parser.all[0]  // Written once, before the first input.

func checkOne(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let input = Array(UnsafeBufferPointer(start: bytes, count: count))
    if let complaint = chosen.check(input) { fatalError("\(chosen.name): \(complaint)") }
    return 0
}

/// The linker takes libFuzzer's own main along, which is not called here, and wants this.
@_cdecl("LLVMFuzzerTestOneInput")
func unused(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 { checkOne(bytes, count) }

signal(SIGPIPE, SIG_IGN)
let name = CommandLine.arguments.dropFirst().first ?? ""
guard let parser = Parser.all.first(where: { $0.name == name }) else {
    print("fuzz PARSER [libFuzzer's arguments]; PARSER is one of \(Parser.all.map(\.name).joined(separator: " "))")
    exit(name == "--list" ? 0 : 64)
}
chosen = parser
// Without the parser's name. libFuzzer starts itself again by its arguments only with -jobs, which we don't use.
var count = CommandLine.argc - 1
var arguments = CommandLine.unsafeArgv + 1
arguments[0] = CommandLine.unsafeArgv[0]
exit(runDriver(&count, &arguments, checkOne))
