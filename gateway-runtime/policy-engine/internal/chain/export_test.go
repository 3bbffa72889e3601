package chain

// Hold charges bytes that others hold.
func Hold(b *Budget, bytes int64) { b.hold(bytes) }
