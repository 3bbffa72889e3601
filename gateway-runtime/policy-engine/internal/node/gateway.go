package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/xds"
)

// gatewayVersion is one version of the Gateway on this node.
type gatewayVersion struct {
	message      *nodev1.Gateway
	gateway      *xds.Gateway
	contents     certificates.Contents // of its files, as last read
	failures     certificates.Failures // files that cannot be used now: contents has their earlier content
	secrets      xds.Resources         // the contents in Envoy's form
	revision     uint64                // of the update that brought it; 0: it comes from the file
	acknowledged bool                  // an Envoy has accepted it
	previous     *gatewayVersion       // the acknowledged version before it, until this one is acknowledged; otherwise nil
}

// lastGood returns the newest version that an Envoy has accepted, or nil.
func (v *gatewayVersion) lastGood() *gatewayVersion {
	if v == nil || v.acknowledged {
		return v
	}
	return v.previous
}

// listening is the node's Gateway: the version for Envoy, and a newer one that waits for a retry.
type listening struct {
	current *gatewayVersion // nil: no Gateway, and no listener
	queued  *queuedGateway  // nil: none
}

// front returns the Gateway's part of the routes.
func (l *listening) front() xds.Front {
	if l.current == nil {
		return xds.Front{}
	}
	return l.current.gateway.Front
}

type queuedGateway struct {
	message  *nodev1.Gateway
	revision uint64
	tries    int
	retryAt  time.Time
	reason   string // as reported
}

// applyGateway makes the controller's Gateway the node's, or reports why it cannot: then the current one stays.
func (n *Node) applyGateway(ctx context.Context, message *nodev1.Gateway, revision uint64) {
	if message == nil {
		return
	}
	if current := n.listening.current; current != nil && current.message.GetDigest() == message.GetDigest() {
		n.keepCurrentGateway(current, revision)
		return
	}
	n.listening.queued = &queuedGateway{message: message, revision: revision}
	n.tryGateway(ctx)
}

// keepCurrentGateway handles an update that contains the current Gateway again. A newer one that is queued is dropped; if an
// Envoy has refused the current one, it is retried as before, and reported again.
func (n *Node) keepCurrentGateway(current *gatewayVersion, revision uint64) {
	current.revision = revision
	if q := n.listening.queued; q != nil && q.message == current.message {
		q.revision, q.reason, q.retryAt = revision, "", time.Now()
		return
	}
	n.listening.queued = nil
	if current.acknowledged {
		n.storeGateway(current)
		n.reportGateway(current, nodev1.ApiStatus_STATE_APPLIED, "")
	}
}

// ReplaceGateway makes a Gateway the node's, as an update from the controller would. It returns nil once the Gateway is applied,
// otherwise the reason.
func (n *Node) ReplaceGateway(ctx context.Context, gateway *nodev1.Gateway) error {
	n.gatewayStatus.Store(nil) // only later statuses count
	n.inbox.Add(&nodev1.Update{Revision: n.stats.revision.Load(), Gateway: gateway})
	ctx, cancel := context.WithTimeoutCause(ctx, n.timing.Acknowledge, errors.New("the node did not report its outcome in time"))
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		status := n.gatewayStatus.Load()
		if status.GetDigest() != gateway.GetDigest() {
			continue
		}
		if status.GetState() != nodev1.ApiStatus_STATE_APPLIED {
			return errors.New(status.GetReason())
		}
		return nil
	}
}

// tryGateway takes the queued Gateway through all stages: check, read its files, secrets and then listeners to Envoy, store,
// report. If Envoy refuses it, Envoy is sent the current one again.
func (n *Node) tryGateway(ctx context.Context) {
	q := n.listening.queued
	candidate, err := n.readGateway(q.message, q.revision)
	if err == nil {
		err = n.setGateway(ctx, candidate)
		if err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
			n.restoreGateway(ctx)
		}
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		candidate.acknowledged = true
		n.storeGateway(candidate) // before the hello contains it
		n.commitGateway(candidate)
		n.reportGateway(candidate, nodev1.ApiStatus_STATE_APPLIED, "")
	case errors.Is(err, xds.ErrNoEnvoy):
		candidate.previous = n.listening.current.lastGood()
		n.commitGateway(candidate)
	default:
		n.rejectGateway(q, err)
	}
}

// readGateway checks a Gateway, and reads its files. Files that the current Gateway does not name must be usable.
func (n *Node) readGateway(message *nodev1.Gateway, revision uint64) (*gatewayVersion, error) {
	gateway, err := xds.ParseGateway(message)
	if err != nil {
		return nil, err
	}
	if err := n.checkInUse(gateway); err != nil {
		return nil, err
	}
	contents, failures := certificates.Load(gateway.Sources)
	if err := n.listening.current.keepContents(gateway.Sources, contents, failures).Err(); err != nil {
		return nil, transient.Mark(err)
	}
	v := &gatewayVersion{message: message, gateway: gateway, revision: revision}
	if err := v.setContents(certificates.Change{Contents: contents, Failures: failures}); err != nil {
		return nil, err
	}
	n.logFailures(v)
	return v, nil
}

// keepContents copies into contents the earlier content of files that cannot be used now, if version v (nil for none) names
// them too: such a file closes the listeners that need it, and prevents no other change. It returns all other failures.
func (v *gatewayVersion) keepContents(sources certificates.Sources, contents certificates.Contents, failures certificates.Failures) certificates.Failures {
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

// logFailures logs which files of a version cannot be used, and the listeners that are closed for it.
func (n *Node) logFailures(v *gatewayVersion) {
	if err := v.failures.Err(); err != nil {
		n.log.Error("certificate files cannot be used: listeners go without these certificates, and those that need them are closed, until they can",
			"closed", v.gateway.ClosedWith(v.secrets), "reason", err.Error())
	}
}

// setContents sets the contents of the version's files, and makes Envoy's secrets of them.
func (v *gatewayVersion) setContents(files certificates.Change) error {
	secrets, err := xds.Secrets(files.Contents)
	if err != nil {
		return err
	}
	v.contents, v.failures, v.secrets = files.Contents, files.Failures, secrets
	return nil
}

// checkInUse refuses a Gateway without a secret that an upstream of a running API names. The error is transient, since the same
// update may change that API.
func (n *Node) checkInUse(gateway *xds.Gateway) error {
	var errs []error
	for _, api := range slices.Sorted(maps.Keys(n.running)) {
		for _, name := range n.running[api].secrets() {
			if !gateway.HasSecret(name) {
				errs = append(errs, transient.Mark(fmt.Errorf("expected %q, which the upstream of API %s names, got a Gateway without it", name, api)))
			}
		}
	}
	return transient.Join(errs...)
}

// setGateway sends Envoy secrets and then listeners, and waits for its acknowledgement of each.
func (n *Node) setGateway(ctx context.Context, v *gatewayVersion) error {
	ctx, cancel := context.WithTimeoutCause(ctx, n.timing.Acknowledge, fmt.Errorf("waited %s", n.timing.Acknowledge))
	defer cancel()
	secretsErr := n.options.Envoy.SetSecrets(ctx, v.secrets)
	if secretsErr != nil && !errors.Is(secretsErr, xds.ErrNoEnvoy) {
		return secretsErr
	}
	return errors.Join(n.options.Envoy.SetListeners(ctx, v.gateway.ListenersWith(v.secrets)), secretsErr)
}

// restoreGateway sends Envoy the current Gateway again, after it has refused another one, of which it may have applied a part.
func (n *Node) restoreGateway(ctx context.Context) {
	previous := n.listening.current
	if previous == nil {
		previous = &gatewayVersion{gateway: &xds.Gateway{}, secrets: xds.Resources{}}
	}
	if err := n.setGateway(ctx, previous); err != nil && ctx.Err() == nil {
		n.log.Error("Envoy did not accept the Gateway that it had before", "error", err.Error())
	}
}

// commitGateway makes a version the current one, and retries the APIs that were refused for lack of a certificate.
func (n *Node) commitGateway(v *gatewayVersion) {
	n.listening.current, n.listening.queued = v, nil
	n.certificates.Watch(v.gateway.Sources, v.contents, v.failures)
	if notify := n.options.Telemetry; notify != nil {
		notify(v.message.GetTelemetry())
	}
	n.publishAdminAddress()
	if notify := n.options.Store; notify != nil {
		notify(v.message.GetStore())
	}
	n.retryAll()
	n.publish()
}

// publishAdminAddress sends the controller a hello if the admin listener's address has changed: no API may use that address.
func (n *Node) publishAdminAddress() {
	if n.options.AdminAddress == nil {
		return
	}
	address := n.options.AdminAddress()
	if published := n.adminAddress.Swap(&address); published == nil && address == "" || published != nil && *published == address {
		return
	}
	n.outbox.AddHello(n.hello())
}

// rejectGateway reports why a Gateway is not applied. If the error is transient it is pending, and retried with back-off.
func (n *Node) rejectGateway(q *queuedGateway, err error) {
	state, reason := nodev1.ApiStatus_STATE_REJECTED, strings.ToValidUTF8(err.Error(), "�")
	if transient.Is(err) {
		state, q.retryAt = nodev1.ApiStatus_STATE_PENDING, time.Now().Add(n.timing.retry().Wait(q.tries))
		q.tries++
	} else {
		n.listening.queued = nil
	}
	if reason == q.reason {
		return
	}
	q.reason = reason
	n.reportGateway(&gatewayVersion{message: q.message, revision: q.revision}, state, reason)
}

// restoreListening chooses the first Gateway: the one stored last, if it replaced the present file, otherwise
// the file's. Its certificate files may be missing: the node waits for them.
func (n *Node) restoreListening(ctx context.Context) {
	message := n.options.Gateway
	stored, err := n.store.ReadGateway(n.options.Gateway.GetDigest())
	if err != nil {
		n.log.Error("the last Gateway is damaged: it is ignored", "error", err.Error())
	} else if stored != nil {
		message = stored
	}
	if message == nil {
		return
	}
	v, err := n.restoredGateway(message)
	if err != nil && stored != nil {
		n.log.Error("the last Gateway cannot be used: the file's takes its place", "reason", err.Error())
		v, err = n.restoredGateway(n.options.Gateway)
	}
	if err != nil {
		n.log.Error("the Gateway cannot be used: the node listens nowhere", "reason", err.Error())
		return
	}
	if err := n.setGateway(ctx, v); err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		n.log.Error("Envoy did not accept the Gateway", "reason", err.Error())
	}
	n.commitGateway(v)
}

func (n *Node) restoredGateway(message *nodev1.Gateway) (*gatewayVersion, error) {
	gateway, err := xds.ParseGateway(message)
	if err != nil {
		return nil, err
	}
	contents, failures := certificates.Load(gateway.Sources)
	v := &gatewayVersion{message: message, gateway: gateway}
	if err := v.setContents(certificates.Change{Contents: contents, Failures: failures}); err != nil {
		return nil, err
	}
	n.logFailures(v)
	return v, nil
}

// confirmGateway waits for the acknowledgement of an Envoy that has just connected. If it refuses a Gateway that no other Envoy has
// accepted, the previous Gateway comes back; otherwise the part that Envoy accepts is served, and the rest is retried.
func (n *Node) confirmGateway(ctx context.Context) {
	v := n.listening.current
	if v == nil {
		return
	}
	err := n.setGateway(ctx, v)
	switch {
	case ctx.Err() != nil || errors.Is(err, xds.ErrNoEnvoy):
	case err == nil:
		n.acknowledgeGateway(v)
	case v.previous != nil:
		newer := n.listening.queued
		n.commitGateway(v.previous)
		n.restoreGateway(ctx)
		n.refuseConnected(newer, v, err)
	default:
		n.refuseConnected(n.listening.queued, v, transient.Mark(err))
	}
}

// refuseConnected rejects a version that an Envoy has refused as it connected. A newer one stays queued.
func (n *Node) refuseConnected(newer *queuedGateway, v *gatewayVersion, err error) {
	q := &queuedGateway{message: v.message, revision: v.revision}
	n.listening.queued = q
	n.rejectGateway(q, err)
	if newer != nil {
		n.listening.queued = newer
	}
}

func (n *Node) acknowledgeGateway(v *gatewayVersion) {
	wasAcknowledged := v.acknowledged
	v.acknowledged, v.previous = true, nil
	if !wasAcknowledged {
		n.storeGateway(v)
	}
	n.publish()
	if !wasAcknowledged {
		n.reportGateway(v, nodev1.ApiStatus_STATE_APPLIED, "")
	}
}

// retryGateway retries a Gateway that is due: a newer one, or the current one that an Envoy has refused.
func (n *Node) retryGateway(ctx context.Context) {
	q, current := n.listening.queued, n.listening.current
	switch {
	case q == nil || q.retryAt.After(time.Now()):
	case current == nil || q.message != current.message:
		n.tryGateway(ctx)
	default:
		n.retryCurrent(ctx, q, current)
	}
}

func (n *Node) retryCurrent(ctx context.Context, q *queuedGateway, current *gatewayVersion) {
	err := n.setGateway(ctx, current)
	switch {
	case errors.Is(err, xds.ErrNoEnvoy):
		n.listening.queued = nil // the next Envoy that connects decides
	case err != nil:
		n.rejectGateway(q, transient.Mark(err))
	case current.acknowledged: // by an earlier Envoy
		n.listening.queued = nil
		n.reportGateway(current, nodev1.ApiStatus_STATE_APPLIED, "")
	default:
		n.listening.queued = nil
		n.acknowledgeGateway(current)
	}
}

// replaceCertificates serves the new content of certificate files, and opens the listeners that waited for it. If Envoy refuses
// it, the version returns to the previous content, so that an Envoy that connects next receives what the last one accepted.
func (n *Node) replaceCertificates(ctx context.Context, files certificates.Change) {
	v := n.listening.current
	previous := certificates.Change{Contents: v.contents, Failures: files.Failures}
	err := v.setContents(files)
	if err == nil {
		err = n.setGateway(ctx, v)
	}
	if _, refused := errors.AsType[*xds.RefusedError](err); refused {
		err = errors.Join(err, v.setContents(previous))
		n.restoreGateway(ctx)
	}
	if err != nil && !errors.Is(err, xds.ErrNoEnvoy) && ctx.Err() == nil {
		n.log.Error("Envoy did not accept the new content of the certificate files; it serves their previous content", "reason", err.Error())
	}
	n.publishCertificates()
	n.retryAll()
}

// publishCertificates publishes when the certificates expire, which files cannot be used, and which listeners are closed.
func (n *Node) publishCertificates() {
	ends, troubles := map[string]certificates.Warnings{}, listeningTroubles{}
	if current := n.listening.current; current != nil {
		for name, pair := range current.contents.Certificates {
			warnings := pair.Validity.Warnings()
			warnings.Renewed = current.gateway.Sources.Certificates[name].Renewed
			ends[name] = warnings
		}
		troubles.closed = current.gateway.ClosedWith(current.secrets)
		for _, source := range current.failures.Sources() {
			troubles.failing = append(troubles.failing, FailingFile{source.Kind, source.Name, current.failures[source]})
		}
	}
	n.expiries.Store(&ends)
	n.troubles.Store(&troubles)
}

// Obstacle returns which listeners are closed, and why; "": none is.
func (s GatewayStats) Obstacle() string {
	if len(s.Closed) == 0 {
		return ""
	}
	reasons := make([]string, 0, len(s.FailingFiles))
	for _, file := range s.FailingFiles {
		reasons = append(reasons, fmt.Sprintf("%s %s: %s", file.Kind, file.Name, file.Reason))
	}
	return fmt.Sprintf("closed until their certificates can be used: the listeners %s; %s", strings.Join(s.Closed, ", "), strings.Join(reasons, "; "))
}

// listeningTroubles lists the closed listeners of the current Gateway, and the files that cannot be used.
type listeningTroubles struct {
	closed  []string
	failing []FailingFile
}

// missingSecrets returns an error for each secret that a bundle's clusters name and the node does not have. Envoy would wait for
// it, and hold back all clusters.
func (n *Node) missingSecrets(bundle *xds.Bundle) error {
	var errs []error
	current := n.listening.current
	for _, name := range bundle.Secrets {
		switch {
		case current == nil || !current.gateway.HasSecret(name):
			errs = append(errs, fmt.Errorf("upstream: expected a certificate or an authority that the Gateway has, got %q: name one of its, or add it to the Gateway", name))
		case current.secrets[name].Name == "":
			errs = append(errs, transient.Mark(fmt.Errorf("upstream: the files of %q cannot be used; the engine's log says why", name)))
		}
	}
	return transient.Join(errs...)
}

// reportGateway logs the outcome of a Gateway, and sends it to the controller.
func (n *Node) reportGateway(v *gatewayVersion, state nodev1.ApiStatus_State, reason string) {
	switch state {
	case nodev1.ApiStatus_STATE_REJECTED:
		n.log.Error("Gateway rejected", "revision", v.revision, "reason", reason)
	case nodev1.ApiStatus_STATE_PENDING:
		n.log.Warn("Gateway pending; it is retried", "revision", v.revision, "reason", reason)
	default:
		n.log.Info("Gateway applied", "revision", v.revision, "listeners", len(v.message.GetListeners()))
	}
	status := &nodev1.GatewayStatus{Digest: v.message.GetDigest(), State: state, Reason: reason}
	n.gatewayStatus.Store(status)
	n.outbox.AddReport(&nodev1.Report{Revision: v.revision, Gateway: status})
}

func (n *Node) gatewayStats() GatewayStats {
	troubles := n.troubles.Load()
	stats := GatewayStats{Digest: *n.gatewayDigest.Load(), Closed: troubles.closed, FailingFiles: troubles.failing}
	if status := n.gatewayStatus.Load(); status != nil {
		stats.State = strings.ToLower(strings.TrimPrefix(status.GetState().String(), "STATE_"))
		stats.Reason = status.GetReason()
	}
	return stats
}

// storeGateway stores a Gateway that Envoy has accepted, with the present digest of the file that it replaces: the file may
// have changed since the node began with it.
func (n *Node) storeGateway(v *gatewayVersion) {
	file := n.options.Gateway.GetDigest()
	if n.options.GatewayDigest != nil {
		file = n.options.GatewayDigest()
	}
	if err := n.store.WriteGateway(v.message, file); err != nil {
		n.log.Error("cannot store the Gateway: after a restart without controller the previous one would come back",
			"directory", n.store.Path(), "error", err.Error())
	}
}
