/// The functions that Redis runs, as one library for `FUNCTION LOAD`.
///
/// Each comes from a file of its own in `Functions/`, whose header names its keys, arguments and replies.
enum FunctionLibrary {
    /// A function's name in Redis.
    enum Function: String, CaseIterable, Sendable {
        case register = "dibs_register"
        case rebuild = "dibs_rebuild"
        case restore = "dibs_restore"
        case abandon = "dibs_abandon"
        case renew = "dibs_renew"
        case window = "dibs_window"
        case claim = "dibs_claim_2"
        case settle = "dibs_settle"
        case release = "dibs_release"
        case retry = "dibs_retry"
        case tell = "dibs_tell_2"
        case log = "dibs_log"
        case inspect = "dibs_inspect"
        case unsettled = "dibs_unsettled"
        case settled = "dibs_settled"
        case recall = "dibs_recall"
        case drop = "dibs_drop"
        case revoke = "dibs_revoke"
        case roomJoin = "dibs_room_join"
        case roomLeave = "dibs_room_leave"
        case roomTick = "dibs_room_tick"
        case roomTold = "dibs_room_told"
        case roomStatus = "dibs_room_status"
        case roomAway = "dibs_room_away"
        case roomHold = "dibs_room_hold"
        case roomOrphans = "dibs_room_orphans"
        case roomCheck = "dibs_room_check"
        case roomSpend = "dibs_room_spend"
        case roomSnapshot = "dibs_room_snapshot"
        case roomWindow = "dibs_room_window"
        case roomInspect = "dibs_room_inspect"
        case roomDraw = "dibs_room_draw"
        case roomDefine = "dibs_room_define"
        case roomOwner = "dibs_room_owner"
        case roomReturn = "dibs_room_return"
        case roomResume = "dibs_room_resume"
        case beat = "dibs_beat"
        case bury = "dibs_bury"
        case seatsDefine = "dibs_seats_define"
        case seatsRebuild = "dibs_seats_rebuild"
        case seatsRestore = "dibs_seats_restore"
        case hold = "dibs_hold"
        case seatsRelease = "dibs_seats_release"
        case seatsPay = "dibs_seats_pay"
        case seatsRefuse = "dibs_seats_refuse"
        case seatsSettle = "dibs_seats_settle"
        case seatsTick = "dibs_seats_tick"
        case seatsRead = "dibs_seats_read"
        case seatsSettled = "dibs_seats_settled"
        case seatsHolds = "dibs_seats_holds"
        case seatsInspect = "dibs_seats_inspect"
        case auditSale = "dibs_audit_sale"
        case auditOrders = "dibs_audit_orders"
        case auditRequeue = "dibs_audit_requeue"
        case auditSeats = "dibs_audit_seats"
        case auditHolds = "dibs_audit_holds"
        case auditRelog = "dibs_audit_relog"
        case auditRoom = "dibs_audit_room"
        case auditLine = "dibs_audit_line"
        case auditPasses = "dibs_audit_passes"

        fileprivate var source: [UInt8] {
            switch self {
            case .register: PackageResources.register_lua
            case .rebuild: PackageResources.rebuild_lua
            case .restore: PackageResources.restore_lua
            case .abandon: PackageResources.abandon_lua
            case .renew: PackageResources.renew_lua
            case .window: PackageResources.window_lua
            case .claim: PackageResources.claim_lua
            case .settle: PackageResources.settle_lua
            case .release: PackageResources.release_lua
            case .retry: PackageResources.retry_lua
            case .tell: PackageResources.tell_lua
            case .log: PackageResources.log_lua
            case .inspect: PackageResources.inspect_lua
            case .unsettled: PackageResources.unsettled_lua
            case .settled: PackageResources.settled_lua
            case .recall: PackageResources.recall_lua
            case .drop: PackageResources.drop_lua
            case .revoke: PackageResources.revoke_lua
            case .roomJoin: PackageResources.room_join_lua
            case .roomLeave: PackageResources.room_leave_lua
            case .roomTick: PackageResources.room_tick_lua
            case .roomTold: PackageResources.room_told_lua
            case .roomStatus: PackageResources.room_status_lua
            case .roomAway: PackageResources.room_away_lua
            case .roomHold: PackageResources.room_hold_lua
            case .roomOrphans: PackageResources.room_orphans_lua
            case .roomCheck: PackageResources.room_check_lua
            case .roomSpend: PackageResources.room_spend_lua
            case .roomSnapshot: PackageResources.room_snapshot_lua
            case .roomWindow: PackageResources.room_window_lua
            case .roomInspect: PackageResources.room_inspect_lua
            case .roomDraw: PackageResources.room_draw_lua
            case .roomDefine: PackageResources.room_define_lua
            case .roomOwner: PackageResources.room_owner_lua
            case .roomReturn: PackageResources.room_return_lua
            case .roomResume: PackageResources.room_resume_lua
            case .beat: PackageResources.beat_lua
            case .bury: PackageResources.bury_lua
            case .seatsDefine: PackageResources.seats_define_lua
            case .seatsRebuild: PackageResources.seats_rebuild_lua
            case .seatsRestore: PackageResources.seats_restore_lua
            case .hold: PackageResources.hold_lua
            case .seatsRelease: PackageResources.seats_release_lua
            case .seatsPay: PackageResources.seats_pay_lua
            case .seatsRefuse: PackageResources.seats_refuse_lua
            case .seatsSettle: PackageResources.seats_settle_lua
            case .seatsTick: PackageResources.seats_tick_lua
            case .seatsRead: PackageResources.seats_read_lua
            case .seatsSettled: PackageResources.seats_settled_lua
            case .seatsHolds: PackageResources.seats_holds_lua
            case .seatsInspect: PackageResources.seats_inspect_lua
            case .auditSale: PackageResources.audit_sale_lua
            case .auditOrders: PackageResources.audit_orders_lua
            case .auditRequeue: PackageResources.audit_requeue_lua
            case .auditSeats: PackageResources.audit_seats_lua
            case .auditHolds: PackageResources.audit_holds_lua
            case .auditRelog: PackageResources.audit_relog_lua
            case .auditRoom: PackageResources.audit_room_lua
            case .auditLine: PackageResources.audit_line_lua
            case .auditPasses: PackageResources.audit_passes_lua
            }
        }

        fileprivate var family: Family {
            if self == .auditRoom || rawValue.hasPrefix("dibs_room_") { return .rooms }
            return self == .hold || rawValue.hasPrefix("dibs_seats_") ? .seats : .sales
        }
    }

    /// Functions that share more than all do.
    fileprivate enum Family: CaseIterable {
        case sales, rooms, seats

        var shared: [UInt8] {
            switch self {
            case .sales: []
            case .rooms: PackageResources.room_shared_lua
            case .seats: PackageResources.seats_shared_lua
            }
        }
    }

    /// The library's source: what all share, then a block for each family, and in it one for each function, so that
    /// nothing else leaks.
    static let source: [UInt8] = {
        var text = Array("#!lua name=dibs\n".utf8)
        text += PackageResources.shared_lua
        for family in Family.allCases {
            text += Array("\ndo -- \(family)\n".utf8)
            text += family.shared
            for function in Function.allCases where function.family == family {
                text += Array("\ndo -- \(function.rawValue)\n".utf8)
                text += function.source
                text += Array("\nend\n".utf8)
            }
            text += Array("\nend\n".utf8)
        }
        #if DEBUG
            text = DeliberateBug.spoil(text)
        #endif
        return text
    }()

    /// Puts the library into Redis, in place of whatever version is there.
    static var load: RedisCommand {
        var command = RedisCommand("FUNCTION", "LOAD", "REPLACE", reserving: source.count + 128)
        command.append(source)
        return command
    }
}
