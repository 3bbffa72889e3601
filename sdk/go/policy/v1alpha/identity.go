package v1alpha

// IdentityKey is the key of an Identity in an exchange's metadata.
const IdentityKey = "identity"

// Identity is the client that a policy has identified: ctx.identity of Python policies.
type Identity struct {
	Subject string // the client, as the issuer names it
	Issuer  string // the authority that names it
	Method  string // the way of identification: "jwt", "api-key"
	Scopes  []string
	Claims  map[string]any // further claims. Do not change it

	Consumer string         // of the controller, if the client is one
	Plan     string         // of the consumer; "": none
	Labels   map[string]any // of the consumer: texts by name. Do not change it
}

// IdentityOf returns the identity that a policy has put into the metadata; false: none has, or the value has another form.
func IdentityOf(metadata *ExchangeMetadata) (Identity, bool) {
	value, found := metadata.Get(IdentityKey)
	if !found {
		return Identity{}, false
	}
	members, ok := value.(map[string]any)
	if _, hasSubject := members["subject"]; !ok || !hasSubject {
		return Identity{}, false
	}
	identity := Identity{}
	fits := member(members, "subject", &identity.Subject) && member(members, "issuer", &identity.Issuer) &&
		member(members, "method", &identity.Method) && member(members, "claims", &identity.Claims) &&
		member(members, "consumer", &identity.Consumer) && member(members, "plan", &identity.Plan) &&
		member(members, "labels", &identity.Labels)
	var scopes []any
	if !fits || !member(members, "scopes", &scopes) {
		return Identity{}, false
	}
	for _, scope := range scopes {
		if text, ok := scope.(string); ok {
			identity.Scopes = append(identity.Scopes, text)
		}
	}
	return identity, true
}

// member reads an optional member; false: it has another type.
func member[T any](of map[string]any, name string, into *T) bool {
	value, found := of[name]
	if !found {
		return true
	}
	typed, ok := value.(T)
	*into = typed
	return ok
}
