import Testing

@testable import Model

@Suite struct FewTests {
    /// Adding and removing in any order does what an array does.
    @Test(arguments: 0..<20) func doesAsAnArrayDoes(seed: Int) {
        var numbers: UInt64 = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        func next(_ bound: UInt64) -> Int {
            numbers = numbers &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((numbers >> 33) % bound)
        }
        var few = Few<Int>()
        var array: [Int] = []
        for step in 0..<200 {
            if next(2) == 0 {
                few.append(step)
                array.append(step)
            } else {
                let rest = next(3)
                few.removeAll { $0 % 3 == rest }
                array.removeAll { $0 % 3 == rest }
            }
            #expect(Array(few) == array)
            #expect(few.count == array.count && few.isEmpty == array.isEmpty && few.first == array.first)
        }
    }

    @Test func isWrittenAsAnArrayIs() {
        let few: Few<Int> = [1, 2, 3]
        #expect(Array(few) == [1, 2, 3])
        #expect(Few<Int>().isEmpty)
    }
}
