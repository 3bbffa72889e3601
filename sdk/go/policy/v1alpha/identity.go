package v1alpha

// IdentityKey is where an Identity stands in an exchange's metadata.
const IdentityKey = "identity"

// Identity is who a request is from, as a policy has found out: ctx.identity of Python policies.
type Identity struct {
	Subject string // who, as the issuer names them
	Issuer  string // who says so
	Method  string // how it was found: "jwt", "api-key"
	Scopes  []string
	Claims  map[string]any // all else that is known. Do not change it
}

// IdentityOf is what policies have set in the metadata; false: none has, or something else stands there.
func IdentityOf(metadata *ExchangeMetadata) (Identity, bool) {
	value, found := metadata.Get(IdentityKey)
	if !found {
		return Identity{}, false
	}
	said, ok := value.(map[string]any)
	if _, hasSubject := said["subject"]; !ok || !hasSubject {
		return Identity{}, false
	}
	identity := Identity{}
	fits := member(said, "subject", &identity.Subject) && member(said, "issuer", &identity.Issuer) &&
		member(said, "method", &identity.Method) && member(said, "claims", &identity.Claims)
	var scopes []any
	if !fits || !member(said, "scopes", &scopes) {
		return Identity{}, false
	}
	for _, scope := range scopes {
		if text, ok := scope.(string); ok {
			identity.Scopes = append(identity.Scopes, text)
		}
	}
	return identity, true
}

// member reads one that may be absent; false: it is of another type.
func member[T any](of map[string]any, name string, into *T) bool {
	value, found := of[name]
	if !found {
		return true
	}
	typed, ok := value.(T)
	*into = typed
	return ok
}
