// swift-tools-version: 6.1
import PackageDescription

/// Every warning is an error when `DIBS_WERROR` is set, as `.ci/run` does.
let strict: [SwiftSetting] =
    [.swiftLanguageMode(.v6), .enableUpcomingFeature("NonisolatedNonsendingByDefault")]
    + (Context.environment["DIBS_WERROR"] == nil ? [] : [.unsafeFlags(["-warnings-as-errors"])])

/// The parsers of outside bytes with what must hold of them: driven by libFuzzer where `DIBS_FUZZ` is set (`make fuzz`),
/// else by tests over the same corpus. A target's sources can't be in two targets.
let parsers: [Target.Dependency] = [
    "Model", "EventLoop", "Engine", "Persistence", "Gateway", "Identity", "Server", "CHiredis", "CJWT",
]
let fuzzing: Target =
    Context.environment["DIBS_FUZZ"] == nil
    ? .testTarget(
        name: "FuzzTests", dependencies: parsers, path: "Tests/Fuzz", exclude: ["Driver", "corpus"],
        swiftSettings: strict)
    : .executableTarget(
        name: "fuzz", dependencies: parsers, path: "Tests/Fuzz", exclude: ["Replay", "corpus"], swiftSettings: strict)

let package = Package(
    name: "dibs",
    products: [
        .executable(name: "dibs", targets: ["Dibs"]),
        .executable(name: "rush", targets: ["Rush"]),
        .executable(name: "echo-server", targets: ["EchoServer"]),
    ],
    targets: [
        // One system library module per C library; each is called from one folder only.
        .systemLibrary(name: "CLibuv", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CWebSockets", pkgConfig: "libwebsockets", providers: [.apt(["libwebsockets-dev"])]),
        .systemLibrary(name: "CJWT", pkgConfig: "libjwt", providers: [.apt(["libjwt-dev"])]),
        .systemLibrary(name: "CArgon2", pkgConfig: "libargon2", providers: [.apt(["libargon2-dev"])]),

        // Values, state machines and rules: no C, no I/O.
        .target(name: "Model", swiftSettings: strict),
        // The loop that everything runs on; the only user of libuv.
        .target(name: "EventLoop", dependencies: ["CLibuv"], swiftSettings: strict),
        // Redis decides.
        .target(
            name: "Engine", dependencies: ["Model", "EventLoop", "CHiredis"],
            resources: [.embedInCode("Functions")], swiftSettings: strict),
        // PostgreSQL is the truth that lasts.
        .target(
            name: "Persistence", dependencies: ["Model", "EventLoop", "CPostgres"],
            resources: [.embedInCode("Migrations")], swiftSettings: strict),
        // WebSocket, REST and static files.
        .target(name: "Gateway", dependencies: ["Model", "EventLoop", "CWebSockets"], swiftSettings: strict),
        // Who is asking: tokens and passwords.
        .target(name: "Identity", dependencies: ["Model", "EventLoop", "CJWT", "CArgon2"], swiftSettings: strict),
        // Configuration and wiring.
        .target(
            name: "Server", dependencies: ["Model", "EventLoop", "Engine", "Persistence", "Gateway", "Identity"],
            swiftSettings: strict),
        .executableTarget(name: "Dibs", dependencies: ["Server"], swiftSettings: strict),
        // The load generator; a library, so that tests can import it.
        .target(
            name: "RushKit", dependencies: ["Model", "EventLoop", "Gateway", "Identity"], swiftSettings: strict),
        .executableTarget(name: "Rush", dependencies: ["RushKit"], swiftSettings: strict),

        .testTarget(name: "ModelTests", dependencies: ["Model"], swiftSettings: strict),
        .testTarget(name: "EventLoopTests", dependencies: ["EventLoop"], swiftSettings: strict),
        // Starts private Redis, PostgreSQL and Dibs processes for the tests that need them.
        .target(name: "TestServices", dependencies: ["EventLoop"], path: "Tests/TestServices", swiftSettings: strict),
        .testTarget(name: "EngineTests", dependencies: ["Engine", "TestServices"], swiftSettings: strict),
        .testTarget(name: "PersistenceTests", dependencies: ["Persistence", "TestServices"], swiftSettings: strict),
        .testTarget(name: "GatewayTests", dependencies: ["Gateway", "TestServices"], swiftSettings: strict),
        .testTarget(name: "IdentityTests", dependencies: ["Identity"], swiftSettings: strict),
        .testTarget(name: "RushTests", dependencies: ["RushKit", "TestServices"], swiftSettings: strict),
        // Breaks things under load, and compares what clients were told with what is true: docs/reliability.md.
        .target(
            name: "FaultKit", dependencies: ["Model", "EventLoop", "Gateway", "Identity", "TestServices"],
            path: "Tests/FaultTests/Kit", swiftSettings: strict),
        .executableTarget(
            name: "chaos", dependencies: ["FaultKit"], path: "Tests/FaultTests/Run", swiftSettings: strict),
        .testTarget(
            name: "FaultTests", dependencies: ["FaultKit"], path: "Tests/FaultTests/Tests", swiftSettings: strict),
        .testTarget(name: "ServerTests", dependencies: ["Server", "TestServices"], swiftSettings: strict),
        // An echo over the gateway, for suites that test WebSockets from outside.
        .executableTarget(
            name: "EchoServer", dependencies: ["EventLoop", "Gateway"], path: "Tests/EchoServer", swiftSettings: strict),
        fuzzing,
    ]
)
