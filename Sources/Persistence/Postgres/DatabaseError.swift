import CPostgres
import Model

/// PostgreSQL refused a statement; nothing of its transaction happened.
public struct DatabaseError: Error, Hashable, Sendable, CustomStringConvertible {
    /// PostgreSQL's own code, five characters, from its appendix "PostgreSQL Error Codes".
    public let sqlstate: String
    /// PostgreSQL's primary message. It names columns and constraints, never values.
    public let message: String
    /// The constraint that refused it, if one did.
    public let constraint: String?

    /// An error from its parts.
    public init(sqlstate: String, message: String, constraint: String? = nil) {
        self.sqlstate = sqlstate
        self.message = message
        self.constraint = constraint
    }

    /// Whether the data is at fault: trying again without a change of data or rules will not help.
    ///
    /// That is everything that is not known to be the database's: a trigger may raise any code of its own, and what is
    /// wrongly taken for the database's fault would be tried for ever, with all that waits behind it.
    public var isFaultOfData: Bool {
        !Self.classesOfDatabase.contains(String(sqlstate.prefix(2)))
    }

    /// 08 connection exception, 25 invalid transaction state (a server that only reads), 40 transaction rollback, 42
    /// undefined or wrongly defined table, column or function, or a right that is missing, 53 insufficient resources, 55 object not in prerequisite
    /// state, 57 operator intervention, 58 system error, F0 configuration file error, XX internal error.
    private static let classesOfDatabase: Set = ["08", "25", "40", "42", "53", "55", "57", "58", "F0", "XX"]

    /// Whether the database is at fault, so that trying again may help.
    public var isTransient: Bool { !isFaultOfData }

    /// Whether the transaction only lost against another one (serialization failure, deadlock).
    var isConflict: Bool { sqlstate == "40001" || sqlstate == "40P01" }

    /// Whether the session or the server is going away, or cannot take the session, or another session may be better off:
    /// classes 08 connection exception, 57P operator intervention that ends sessions, 53300 too many connections, 25006
    /// read only, which the next session may not be, or be with the server that took over.
    var endsSession: Bool {
        sqlstate.hasPrefix("08") || sqlstate.hasPrefix("57P") || sqlstate == "53300" || sqlstate == "25006"
    }

    /// What the dead-letter list says: the constraint, else the code.
    var reason: String { constraint ?? sqlstate }

    /// Code, message and constraint.
    public var description: String {
        "\(sqlstate) \(message)" + (constraint.map { " (\($0))" } ?? "")
    }

    /// The error of a result that has one.
    init(of result: OpaquePointer) {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        // libpq makes errors of its own, of lost connections, without a code.
        sqlstate = field(dibs_pg_diag_sqlstate) ?? "08006"
        message = field(dibs_pg_diag_message_primary) ?? singleLine(String(cString: PQresultErrorMessage(result)))
        constraint = field(dibs_pg_diag_constraint_name)
    }
}

/// libpq's messages have several lines; a log line and an error have one.
func singleLine(_ text: String) -> String {
    text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
}

extension Outage {
    /// Whether a session said that it only reads (25006).
    var isReadOnly: Bool { detail.hasPrefix("25006") }
}
