package gateway

import (
	"maps"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/xds"
)

// version is one version of the Gateway on this node.
type version struct {
	message      *nodev1.Gateway
	gateway      *xds.Gateway
	contents     certificates.Contents // of its files, as last read
	failures     certificates.Failures // files that cannot be used now: contents has their earlier content
	secrets      xds.Resources         // the contents in Envoy's form
	revision     uint64                // of the update that brought it; 0: it comes from the file
	acknowledged bool                  // an Envoy has accepted it
	previous     *version              // the acknowledged version before it, until this one is acknowledged; otherwise nil
}

// lastGood returns the newest version that an Envoy has accepted, or nil.
func (v *version) lastGood() *version {
	if v == nil || v.acknowledged {
		return v
	}
	return v.previous
}

// keepContents copies into contents the earlier content of files that cannot be used now, if version v (nil for none) names
// them too: such a file closes the listeners that need it, and prevents no other change. It returns all other failures.
func (v *version) keepContents(sources certificates.Sources, contents certificates.Contents, failures certificates.Failures) certificates.Failures {
	remaining := maps.Clone(failures)
	if v == nil {
		return remaining
	}
	for source := range failures {
		if sources.HasSame(v.gateway.Sources, source) {
			delete(remaining, source)
			contents.CopyFrom(v.contents, source)
		}
	}
	return remaining
}

// setContents sets the contents of the version's files, and makes Envoy's secrets of them.
func (v *version) setContents(files certificates.Change) error {
	secrets, err := xds.Secrets(files.Contents)
	if err != nil {
		return err
	}
	v.contents, v.failures, v.secrets = files.Contents, files.Failures, secrets
	return nil
}
