package chain

// Charge charges bytes that others hold.
func Charge(b *Budget, bytes int64) { b.charge(bytes) }
