package node

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"sync/atomic"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/secrets"
)

// boundAttachment is an attachment with the secrets that its parameters name, as they are at one time.
type boundAttachment struct {
	*nodev1.Attachment
	instance         string // its id; another one for each move of its policy, and for each value of the secrets it names
	parameters       []byte // with the secrets' values, as
	systemParameters []byte // these are; neither is written anywhere
	refs             []secrets.Ref
}

// binder puts secrets into attachments.
type binder struct {
	policies *atomic.Pointer[policies]
	store    *secrets.Store
	key      []byte // of the hash that an instance's id has of its secrets: it tells nobody whether he has guessed one
}

func newBinder(policies *atomic.Pointer[policies], store *secrets.Store) *binder {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // it never fails (crypto/rand)
	return &binder{policies: policies, store: store, key: key}
}

// bind returns the attachment as it is to be built now. An error of a secret that is not there may pass.
func (b *binder) bind(api string, attachment *nodev1.Attachment) (*boundAttachment, error) {
	bound := &boundAttachment{Attachment: attachment, instance: attachment.GetInstance(),
		parameters: attachment.GetParameters(), systemParameters: attachment.GetSystemParameters()}
	if moves := (*b.policies.Load())[attachment.GetPolicyName()+":"+attachment.GetPolicyVersion()].Moves; moves > 0 {
		bound.instance += "@" + strconv.Itoa(moves)
	}
	refs, err := refsOf(api, attachment)
	if err != nil || len(refs) == 0 {
		return bound, err
	}
	bound.refs = refs
	hash := hmac.New(sha256.New, b.key)
	values := map[string]string{}
	var errs []error
	for _, text := range []string{api, bound.instance} {
		writeSized(hash.Write, text)
	}
	for _, ref := range refs {
		value, err := b.store.Get(ref)
		if err != nil {
			errs = append(errs, transientError{err})
			continue
		}
		values[ref.Name] = value
		writeSized(hash.Write, ref.Name)
		writeSized(hash.Write, value)
	}
	if err := join(errs...); err != nil {
		return bound, err
	}
	bound.instance += "-" + hex.EncodeToString(hash.Sum(nil)[:16])
	var paramErr, systemErr error
	bound.parameters, paramErr = secrets.Fill(bound.parameters, values)
	bound.systemParameters, systemErr = secrets.Fill(bound.systemParameters, values)
	return bound, errors.Join(paramErr, systemErr)
}

// writeSized writes a text so that where it ends is certain.
func writeSized(write func([]byte) (int, error), text string) {
	_, _ = write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
	_, _ = write([]byte(text))
}

// refsOf are the secrets that an attachment of an API names, each once.
func refsOf(api string, attachment *nodev1.Attachment) ([]secrets.Ref, error) {
	var refs []secrets.Ref
	known := map[string]bool{}
	for _, parameters := range [][]byte{attachment.GetParameters(), attachment.GetSystemParameters()} {
		names, err := secrets.Names(parameters)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !known[name] {
				known[name] = true
				refs = append(refs, secrets.Ref{API: api, Name: name})
			}
		}
	}
	return refs, nil
}

// secretTexts are the values of the attachment's secrets, those that its API has itself, too.
func (a *boundAttachment) secretTexts() []string {
	return append(secrets.Texts(a.parameters), secrets.Texts(a.systemParameters)...)
}

// hideSecrets takes out of an error what the attachment's secrets are: its policy's author may have written them there.
func (a *boundAttachment) hideSecrets(err error) error {
	if err == nil {
		return nil
	}
	shown := secrets.Hide(err.Error(), a.secretTexts())
	switch {
	case shown == err.Error():
		return err
	case isTransient(err):
		return transientError{errors.New(shown)}
	default:
		return errors.New(shown)
	}
}
