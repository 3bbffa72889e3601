package certificates

import (
	"bytes"
	"maps"
)

func (c Contents) clone() Contents {
	cloned := Contents{Certificates: maps.Clone(c.Certificates), Authorities: maps.Clone(c.Authorities)}
	if cloned.Certificates == nil {
		cloned.Certificates = map[string]Pair{}
	}
	if cloned.Authorities == nil {
		cloned.Authorities = map[string]Trust{}
	}
	return cloned
}

func (p Pair) same(other Pair) bool {
	return bytes.Equal(p.Chain, other.Chain) && bytes.Equal(p.Key, other.Key)
}

func (t Trust) same(other Trust) bool {
	return bytes.Equal(t.Certificates, other.Certificates) && bytes.Equal(t.RevocationLists, other.RevocationLists)
}
