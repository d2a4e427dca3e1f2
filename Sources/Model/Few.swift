/// Some elements in order, of which there is mostly one: that one takes no memory of its own.
@frozen
public struct Few<Element> {
    @usableFromInline var one: Element?
    @usableFromInline var others: [Element] = []

    /// None.
    @inlinable public init() {}

    /// Adds one at the end.
    @inlinable public mutating func append(_ element: Element) {
        if one == nil { one = element } else { others.append(element) }
    }

    /// Removes those that are meant, and keeps the order of the others.
    @inlinable public mutating func removeAll(where isMeant: (Element) -> Bool) {
        others.removeAll(where: isMeant)
        if let first = one, isMeant(first) { one = others.isEmpty ? nil : others.removeFirst() }
        // An array that has become empty keeps its room.
        if others.isEmpty { others = [] }
    }
}

extension Few: Sendable where Element: Sendable {}

extension Few: ExpressibleByArrayLiteral {
    /// These.
    @inlinable public init(arrayLiteral elements: Element...) {
        one = elements.first
        others = Array(elements.dropFirst())
    }
}

extension Few: RandomAccessCollection {
    /// 0.
    @inlinable public var startIndex: Int { 0 }
    /// How many there are.
    @inlinable public var endIndex: Int { one == nil ? 0 : 1 + others.count }
    /// One of them.
    @inlinable public subscript(index: Int) -> Element { index == 0 ? one! : others[index - 1] }
}
