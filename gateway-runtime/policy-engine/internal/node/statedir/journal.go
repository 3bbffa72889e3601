package statedir

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// The last good state consists of a file with all of it, and a journal of the changes since. The journal begins with a line
// "gatewright-journal 1 SHA256", the digest of the file that it continues: one of another file is left over, and ignored. Each
// of its records is the length of the rest, the digest of the change and of the record before, and the change, a serialized Update.
const (
	journal        = LastGood + ".journal"
	journalMagic   = "gatewright-journal 1 "
	lengthBytes    = 4
	leastFold      = 1 << 20 // bytes of a journal that are not worth a new file, however small that is
	bundlesOfState = 2       // the field of Update
)

// stored is what the files hold.
type stored struct {
	revision uint64
	bundles  map[string]*Bundle
	whole    int64 // bytes of the file
	appended int64 // bytes of the journal
	last     [sha256.Size]byte
}

// StoreLastGood stores a state: what differs from the state that was stored before is appended to the journal, which is folded
// into the file now and then. The state is on disk when it returns. After an error the earlier state is still there, whole.
func (d *Directory) StoreLastGood(revision uint64, bundles []*Bundle) error {
	changes := d.changes(revision, bundles)
	if changes != nil && len(changes.Bundles)+len(changes.RemovedApis) == 0 && changes.Revision == d.stored.revision {
		return nil
	}
	err := errFold
	if changes != nil {
		err = d.appendChanges(changes)
	}
	if errors.Is(err, errFold) {
		err = d.writeWhole(revision, bundles)
	}
	if err != nil {
		d.stored = nil
		return d.count(err)
	}
	d.stored.revision, d.stored.bundles = revision, make(map[string]*Bundle, len(bundles))
	for _, bundle := range bundles {
		d.stored.bundles[bundle.API] = bundle
	}
	return nil
}

// Forget has the next state stored whole, whatever the files hold now.
func (d *Directory) Forget() { d.stored = nil }

// errFold reports that the journal is as large as it may be.
var errFold = errors.New("the journal is full")

// changes returns how a state differs from the stored one; nil: the stored one is not known.
func (d *Directory) changes(revision uint64, bundles []*Bundle) *nodev1.Update {
	if d.stored == nil {
		return nil
	}
	changes, kept := &nodev1.Update{Revision: revision}, 0
	for _, bundle := range bundles {
		before := d.stored.bundles[bundle.API]
		if before != nil {
			kept++
		}
		if before == bundle || before != nil && bytes.Equal(before.packed, bundle.packed) {
			continue
		}
		message, err := bundle.Message()
		if err != nil {
			return nil
		}
		changes.Bundles = append(changes.Bundles, message)
	}
	if kept == len(d.stored.bundles) {
		return changes
	}
	present := make(map[string]bool, len(bundles))
	for _, bundle := range bundles {
		present[bundle.API] = true
	}
	for api := range d.stored.bundles {
		if !present[api] {
			changes.RemovedApis = append(changes.RemovedApis, api)
		}
	}
	slices.Sort(changes.RemovedApis)
	return changes
}

// appendChanges appends a record to the journal. errFold: it has become large, and the state is to be written whole.
func (d *Directory) appendChanges(changes *nodev1.Update) error {
	record, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, lengthBytes+sha256.Size), changes)
	if err != nil {
		return fmt.Errorf("serialize %s: %w", journal, err)
	}
	if d.stored.appended+int64(len(record)) > max(leastFold, d.stored.whole/2) {
		return errFold
	}
	binary.BigEndian.PutUint32(record, uint32(len(record)-lengthBytes)) //nolint:gosec // bounded by half of the file
	digest := chained(d.stored.last, record[lengthBytes+sha256.Size:])
	copy(record[lengthBytes:], digest[:])
	fresh := d.stored.appended == 0
	if fresh {
		record = append(journalHead(d.stored.last), record...)
	}
	if err := d.appendJournal(record, fresh); err != nil {
		return err
	}
	d.stored.appended, d.stored.last = d.stored.appended+int64(len(record)), digest
	return nil
}

func (d *Directory) appendJournal(text []byte, fresh bool) error {
	flags := os.O_WRONLY | os.O_APPEND
	if fresh {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(filepath.Join(d.path, journal), flags, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil && fresh {
		err = d.sync()
	}
	return err
}

func chained(last [sha256.Size]byte, change []byte) [sha256.Size]byte {
	hash := sha256.New()
	_, _ = hash.Write(last[:])
	_, _ = hash.Write(change)
	return [sha256.Size]byte(hash.Sum(nil))
}

func journalHead(whole [sha256.Size]byte) []byte {
	return fmt.Appendf(nil, "%s%x\n", journalMagic, whole)
}

// writeWhole replaces the file by one with all of the state, one bundle at a time.
func (d *Directory) writeWhole(revision uint64, bundles []*Bundle) error {
	size, digest, err := d.replace(LastGood, func(write func([]byte) error) error {
		head, err := proto.Marshal(&nodev1.Update{Revision: revision})
		if err != nil {
			return fmt.Errorf("serialize %s: %w", LastGood, err)
		}
		if err := write(head); err != nil {
			return err
		}
		for _, bundle := range slices.SortedFunc(slices.Values(bundles), func(a, b *Bundle) int { return cmp.Compare(a.API, b.API) }) {
			text, err := bundle.text()
			if err != nil {
				return err
			}
			field := protowire.AppendVarint(protowire.AppendTag(nil, bundlesOfState, protowire.BytesType), uint64(len(text)))
			if err := errors.Join(write(field), write(text)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		d.stored = &stored{whole: size, last: digest}
		err = d.Remove(journal)
	}
	return err
}

// readJournal applies the journal's changes to the state that it continues. A last record that is not whole was never
// acknowledged, and is ignored.
func (d *Directory) readJournal(state *nodev1.Update, whole [sha256.Size]byte) error {
	path := filepath.Join(d.path, journal)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	records, continues := bytes.CutPrefix(text, journalHead(whole))
	if !continues {
		return nil
	}
	bundles := map[string]*nodev1.ApiBundle{}
	for _, bundle := range state.GetBundles() {
		bundles[bundle.GetApi()] = bundle
	}
	for last := whole; len(records) >= lengthBytes+sha256.Size; {
		length := int(binary.BigEndian.Uint32(records))
		if length < sha256.Size || len(records)-lengthBytes < length {
			break
		}
		digest, change := records[lengthBytes:lengthBytes+sha256.Size], records[lengthBytes+sha256.Size:lengthBytes+length]
		records = records[lengthBytes+length:]
		if last = chained(last, change); !bytes.Equal(last[:], digest) {
			if len(records) == 0 {
				break
			}
			return fmt.Errorf("%s is damaged: expected the digest %x of a record, got %x", path, last, digest)
		}
		if err := applyChange(state, bundles, change); err != nil {
			return fmt.Errorf("%s is damaged: %w", path, err)
		}
	}
	state.Bundles = state.GetBundles()[:0]
	for _, bundle := range bundles {
		state.Bundles = append(state.Bundles, bundle)
	}
	slices.SortFunc(state.Bundles, func(a, b *nodev1.ApiBundle) int { return cmp.Compare(a.GetApi(), b.GetApi()) })
	return nil
}

func applyChange(state *nodev1.Update, bundles map[string]*nodev1.ApiBundle, text []byte) error {
	change := &nodev1.Update{}
	if err := proto.Unmarshal(text, change); err != nil {
		return err
	}
	state.Revision = change.GetRevision()
	for _, api := range change.GetRemovedApis() {
		delete(bundles, api)
	}
	for _, bundle := range change.GetBundles() {
		bundles[bundle.GetApi()] = bundle
	}
	return nil
}
