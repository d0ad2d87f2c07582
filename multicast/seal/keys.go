package seal

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

// Key is the group key of one epoch.
type Key struct {
	Epoch  uint8  `json:"epoch"`
	Cipher Cipher `json:"cipher"`
	Key    []byte `json:"key"`  // 32 bytes
	Salt   []byte `json:"salt"` // first 4 bytes of every nonce
}

// GroupKey is a key with what it seals.
type GroupKey struct {
	Key
	*Sealer
}

// NewGroupKey makes a group key that follows from no other.
func NewGroupKey(epoch uint8, name Cipher) (*GroupKey, error) {
	k := Key{Epoch: epoch, Cipher: name, Key: make([]byte, wire.KeySize), Salt: make([]byte, wire.SaltSize)}
	_, err := rand.Read(k.Key)
	if err == nil {
		_, err = rand.Read(k.Salt)
	}
	if err != nil {
		return nil, fmt.Errorf("make group key: %w", err)
	}
	return k.Use()
}

// Use makes the key ready to seal and to open.
func (k Key) Use() (*GroupKey, error) {
	s, err := NewSealer(k.Cipher, k.Key, k.Salt)
	if err != nil {
		return nil, fmt.Errorf("group key of epoch %d: %w", k.Epoch, err)
	}
	return &GroupKey{k, s}, nil
}

// Successor is the key of the next epoch. Who has a key can compute those that
// follow, and none of those before.
func (k Key) Successor() (*GroupKey, error) {
	b, err := hkdf.Expand(sha256.New, k.Key, epochInfo, wire.KeySize+wire.SaltSize)
	if err != nil {
		return nil, fmt.Errorf("key that follows epoch %d: %w", k.Epoch, err)
	}
	return Key{Epoch: k.Epoch + 1, Cipher: k.Cipher, Key: b[:wire.KeySize], Salt: b[wire.KeySize:]}.Use()
}

// Keys are the group keys of a session, as its sender has them. It has no lock.
type Keys struct {
	// Volume is how many datagrams an epoch has; it may be changed.
	Volume uint64

	current *GroupKey
	// offered are what new members get. While the session waits for its start there
	// is one for each cipher that it may choose then, so that the choice costs nobody
	// a second join; later there is the current one.
	offered []*GroupKey
	since   uint64 // packet number that the epoch began with
}

// NewKeys makes a first key for each cipher that the session may choose.
func NewKeys(ciphers ...Cipher) (*Keys, error) {
	k := &Keys{Volume: keyVolume}
	if err := k.renew(ciphers, 0); err != nil {
		return nil, err
	}
	return k, nil
}

// Current is the key that seals now.
func (k *Keys) Current() *GroupKey { return k.current }

// Replace replaces all keys by new ones of the same ciphers that follow from none
// before, at the given packet number.
func (k *Keys) Replace(number uint64) error {
	var ciphers []Cipher
	for _, key := range k.offered {
		ciphers = append(ciphers, key.Cipher)
	}
	return k.renew(ciphers, number)
}

// renew replaces all keys by new ones that follow from none before.
func (k *Keys) renew(ciphers []Cipher, number uint64) error {
	var epoch uint8
	if n := len(k.offered); n > 0 {
		epoch = k.offered[n-1].Epoch + 1
	}
	var fresh []*GroupKey
	for i, c := range ciphers {
		key, err := NewGroupKey(epoch+uint8(i), c)
		if err != nil {
			return err
		}
		fresh = append(fresh, key)
	}
	k.current, k.offered, k.since = fresh[0], fresh, number
	return nil
}

// Choose settles the cipher, at the given packet number.
func (k *Keys) Choose(name Cipher, number uint64) {
	for _, key := range k.offered {
		if key.Cipher == name {
			k.current, k.offered, k.since = key, []*GroupKey{key}, number
			return
		}
	}
}

// Turn goes on to the next epoch when the key has sealed what it may. An error
// leaves the key as it is.
func (k *Keys) Turn(number uint64) error {
	if number-k.since < k.Volume || len(k.offered) > 1 {
		return nil
	}
	next, err := k.current.Successor()
	if err != nil {
		return err
	}
	k.current, k.offered, k.since = next, []*GroupKey{next}, number
	return nil
}

// Offered is what a new member gets.
func (k *Keys) Offered() (keys []Key) {
	for _, key := range k.offered {
		keys = append(keys, key.Key)
	}
	return keys
}

// Ring holds a member's group keys: those that it was given, and those that it has
// derived.
type Ring struct {
	keys    [256]*GroupKey // by epoch
	current uint8          // epoch of the highest packet number
	newest  wire.PacketNumber
	next    *GroupKey // follows the current one; nil until it is asked for
}

// ErrNoKey is for datagrams that are of an epoch without key, or claim to be of the
// next one and do not open with the key that follows: somebody was removed, or somebody
// else has made them.
var ErrNoKey = errors.New("no key for this epoch")

// NewRing makes a ring of the keys that a member was given.
func NewRing(keys []Key) (*Ring, error) {
	r := &Ring{}
	for _, k := range keys {
		key, err := k.Use()
		if err != nil {
			return nil, err
		}
		r.Add(key)
	}
	return r, nil
}

// Add puts a key into the ring, as the current one.
func (r *Ring) Add(key *GroupKey) { r.keys[key.Epoch], r.current = key, key.Epoch }

// Open appends the plaintext of a datagram to dst. Errors: ErrNoKey, and any other for
// a datagram that is forged.
func (r *Ring) Open(dst []byte, h *wire.Header, clear, sealed []byte) (plain []byte, err error) {
	key := r.keys[h.Epoch]
	if key != nil {
		plain, err = key.Open(dst, clear, sealed, uint64(h.Number))
	}
	if (key == nil || err != nil) && h.Epoch == r.current+1 {
		if key = r.following(); key != nil {
			plain, err = key.Open(dst, clear, sealed, uint64(h.Number))
		}
		if err != nil {
			key = nil
		}
	}
	if key == nil {
		return nil, ErrNoKey
	}
	if err == nil && h.Number > r.newest {
		r.newest = h.Number
		r.turn(key)
	}
	return plain, err
}

// following is the key that follows the current one. It is made once, whatever
// number of datagrams claims to need it.
func (r *Ring) following() *GroupKey {
	if r.next == nil && r.keys[r.current] != nil {
		r.next, _ = r.keys[r.current].Successor() // fails for no key that could be used
	}
	return r.next
}

// turn notes the key of the newest datagram. Of those before a derived one only the
// last stays, for datagrams that were overtaken.
func (r *Ring) turn(key *GroupKey) {
	if key.Epoch == r.current {
		return
	}
	if key == r.next {
		before := r.keys[r.current]
		r.keys = [256]*GroupKey{}
		r.keys[r.current], r.keys[key.Epoch] = before, key
	}
	r.current, r.next = key.Epoch, nil
}
