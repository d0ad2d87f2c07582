package multicast

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"castpoint/multicast/wire"
)

// keyVolume is after how many datagrams a session goes on to the next epoch: 94 GB.
// What one key seals then stays far below the 2^38 bytes that TLS 1.3 allows AES-GCM
// (RFC 8446 section 5.5), and a key that leaks opens no more than that before it.
const keyVolume = 1 << 26

// epochInfo is what successor keys are derived with.
const epochInfo = "castpoint 1 next epoch"

// groupKey is a key with what it seals.
type groupKey struct {
	Key
	*sealer
}

// newGroupKey makes a group key that follows from no other.
func newGroupKey(epoch uint8, name Cipher) (*groupKey, error) {
	k := Key{Epoch: epoch, Cipher: name, Key: make([]byte, wire.KeySize), Salt: make([]byte, wire.SaltSize)}
	_, err := rand.Read(k.Key)
	if err == nil {
		_, err = rand.Read(k.Salt)
	}
	if err != nil {
		return nil, fmt.Errorf("make group key: %w", err)
	}
	return k.use()
}

func (k Key) use() (*groupKey, error) {
	s, err := newSealer(k.Cipher, k.Key, k.Salt)
	if err != nil {
		return nil, fmt.Errorf("group key of epoch %d: %w", k.Epoch, err)
	}
	return &groupKey{k, s}, nil
}

// successor is the key of the next epoch. Who has a key can compute those that
// follow, and none of those before.
func (k Key) successor() (*groupKey, error) {
	b, err := hkdf.Expand(sha256.New, k.Key, epochInfo, wire.KeySize+wire.SaltSize)
	if err != nil {
		return nil, fmt.Errorf("key that follows epoch %d: %w", k.Epoch, err)
	}
	return Key{Epoch: k.Epoch + 1, Cipher: k.Cipher, Key: b[:wire.KeySize], Salt: b[wire.KeySize:]}.use()
}

// senderKeys are the group keys of a session. The session's lock is held.
type senderKeys struct {
	current *groupKey
	// offered are what new members get. While the session waits for its start there
	// is one for each cipher that it may choose then, so that the choice costs nobody
	// a second join; later there is the current one.
	offered []*groupKey
	volume  uint64 // datagrams of an epoch
	since   uint64 // packet number that the epoch began with
}

// renew replaces all keys by new ones that follow from none before.
func (k *senderKeys) renew(ciphers []Cipher, number uint64) error {
	var epoch uint8
	if n := len(k.offered); n > 0 {
		epoch = k.offered[n-1].Epoch + 1
	}
	var fresh []*groupKey
	for i, c := range ciphers {
		key, err := newGroupKey(epoch+uint8(i), c)
		if err != nil {
			return err
		}
		fresh = append(fresh, key)
	}
	k.current, k.offered, k.since = fresh[0], fresh, number
	return nil
}

// choose settles the cipher.
func (k *senderKeys) choose(name Cipher, number uint64) {
	for _, key := range k.offered {
		if key.Cipher == name {
			k.current, k.offered, k.since = key, []*groupKey{key}, number
			return
		}
	}
}

// turn goes on to the next epoch when the key has sealed what it may. An error
// leaves the key as it is.
func (k *senderKeys) turn(number uint64) error {
	if number-k.since < k.volume || len(k.offered) > 1 {
		return nil
	}
	next, err := k.current.successor()
	if err != nil {
		return err
	}
	k.current, k.offered, k.since = next, []*groupKey{next}, number
	return nil
}

// list is what a new member gets.
func (k *senderKeys) list() (keys []Key) {
	for _, key := range k.offered {
		keys = append(keys, key.Key)
	}
	return keys
}

// keyring holds a member's group keys: those that it was given, and those that it has
// derived.
type keyring struct {
	keys    [256]*groupKey // by epoch
	current uint8          // epoch of the highest packet number
	newest  wire.PacketNumber
	next    *groupKey // follows the current one; nil until it is asked for
}

// errNoKey is for datagrams that are of an epoch without key, or claim to be of the
// next one and do not open with the key that follows: somebody was removed, or somebody
// else has made them.
var errNoKey = errors.New("no key for this epoch")

func newKeyring(keys []Key) (*keyring, error) {
	r := &keyring{}
	for _, k := range keys {
		key, err := k.use()
		if err != nil {
			return nil, err
		}
		r.keys[k.Epoch], r.current = key, k.Epoch
	}
	return r, nil
}

// open appends the plaintext of a datagram to dst. Errors: errNoKey, and any other for
// a datagram that is forged.
func (r *keyring) open(dst []byte, h *wire.Header, clear, sealed []byte) (plain []byte, err error) {
	key := r.keys[h.Epoch]
	if key != nil {
		plain, err = key.open(dst, clear, sealed, uint64(h.Number))
	}
	if (key == nil || err != nil) && h.Epoch == r.current+1 {
		if key = r.following(); key != nil {
			plain, err = key.open(dst, clear, sealed, uint64(h.Number))
		}
		if err != nil {
			key = nil
		}
	}
	if key == nil {
		return nil, errNoKey
	}
	if err == nil && h.Number > r.newest {
		r.newest = h.Number
		r.turn(key)
	}
	return plain, err
}

// following is the key that follows the current one. It is made once, whatever
// number of datagrams claims to need it.
func (r *keyring) following() *groupKey {
	if r.next == nil && r.keys[r.current] != nil {
		r.next, _ = r.keys[r.current].successor() // fails for no key that could be used
	}
	return r.next
}

// turn notes the key of the newest datagram. Of those before a derived one only the
// last stays, for datagrams that were overtaken.
func (r *keyring) turn(key *groupKey) {
	if key.Epoch == r.current {
		return
	}
	if key == r.next {
		before := r.keys[r.current]
		r.keys = [256]*groupKey{}
		r.keys[r.current], r.keys[key.Epoch] = before, key
	}
	r.current, r.next = key.Epoch, nil
}
