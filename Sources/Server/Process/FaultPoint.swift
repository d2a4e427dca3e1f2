import Foundation
import Synchronization

/// Places at which a test can have the process killed, between two steps of something that has to survive it.
///
/// In debug builds only: `DIBS_FAULT=payment_committed` kills the process where it comes there first,
/// `DIBS_FAULT=payment_committed:3` the third time.
enum FaultPoint: String, CaseIterable {
    /// Redis took a hold; nobody was told.
    case holdTaken = "hold_taken"
    /// Redis counts a payment; PostgreSQL was not asked.
    case paymentBegun = "payment_begun"
    /// PostgreSQL committed a payment; Redis does not know.
    case paymentCommitted = "payment_committed"
    /// Redis has the seats as sold; the client was not told.
    case seatsSold = "seats_sold"
    /// The client was told; the pass is not spent.
    case paidTold = "paid_told"
    /// The pass is spent; PostgreSQL does not know that all is done.
    case passSpent = "pass_spent"
    /// PostgreSQL committed a refund; Redis does not know.
    case refundCommitted = "refund_committed"
    /// A hold was given back in Redis; the client was not told.
    case holdReleased = "hold_released"
    /// A committer has entries of a performance's log; PostgreSQL does not.
    case logRead = "log_read"
    /// PostgreSQL has them; the clients were not told.
    case logCommitted = "log_committed"
    /// The clients were told; the entries are still in the log.
    case logTold = "log_told"
    /// The client was told that its hold, which PostgreSQL closed, is over; Redis has it still.
    case expiredTold = "expired_told"
    /// PostgreSQL closed a reservation whose payment was under way at its deadline; Redis does not know.
    case reservationClosed = "reservation_closed"

    /// The process comes to this point.
    @inline(__always)
    func reach() {
        #if DEBUG
            Self.plan.reached(self)
        #endif
    }

    #if DEBUG
        private static let plan = Plan(ProcessInfo.processInfo.environment["DIBS_FAULT"] ?? "")

        private final class Plan: Sendable {
            private let point: FaultPoint?
            private let left: Atomic<Int>

            init(_ text: String) {
                let parts = text.split(separator: ":")
                point = parts.first.flatMap { FaultPoint(rawValue: String($0)) }
                left = Atomic(parts.count > 1 ? Int(parts[1]) ?? 1 : 1)
            }

            func reached(_ reached: FaultPoint) {
                guard reached == point, left.subtract(1, ordering: .relaxed).newValue == 0 else { return }
                kill(getpid(), SIGKILL)
            }
        }
    #endif
}
