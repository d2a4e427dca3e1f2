import Testing

@testable import Persistence

/// Connection strings are looked at before they are used, and no message repeats any part of one.
@Suite struct ConnectionStringTests {
    @Test(arguments: [
        "", "host=localhost", "host=/run/postgresql dbname=dibs user=dibs password='with space and \\' quote'",
        "postgresql://", "postgres://user:pw@[::1]:5432,other:5433/dibs?sslmode=require&application_name=x",
        "postgresql://u:p%40ss@localhost/dibs",
    ])
    func good(text: String) throws { try Store.validate(connectionString: text) }

    @Test(arguments: [
        "geheim", "password=geheim extra", "password=geheim word=x", "password='geheim", "postgres://u:geheim@host:x/d",
        "postgres://u:ge%zzheim@host/d", "postgres://u:geheim@[::1/d", "postgres://u:geheim@host/d?nonsense=1",
        "host=a,b,c port=1,2 password=geheim", "host=a port=70000 password=geheim", "host=a port=geheim",
        "postgres://u:geheim\"quoted@host:x/d", "password=geheim\0",
    ])
    func bad(text: String) {
        #expect {
            try Store.validate(connectionString: text)
        } throws: { error in
            let message = "\(error)"
            return error is ConnectionStringError && message.count > 5 && !message.contains("geheim")
                && !message.contains("heim") && !message.contains("word")
        }
    }

    @Test func partsAreTakenApart() throws {
        let parameters = try ConnectionParameters("postgresql://anna@db.example:6000/dibs")
        #expect(parameters.values == ["user": "anna", "host": "db.example", "port": "6000", "dbname": "dibs"])
    }
}
