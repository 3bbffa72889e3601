package v1alpha

// Policy says which one it is.
type Policy interface{ String() string }

// Factory builds a policy.
type Factory func(Metadata, Params) (Policy, error)

// Metadata says which instance is built.
type Metadata struct{ PolicyName, PolicyVersion string }

// Params are JSON.
type Params []byte
