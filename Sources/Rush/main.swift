import EventLoop
import Foundation
import RushKit

exit(EventLoop.run { await Run.main(Array(CommandLine.arguments.dropFirst())) })
