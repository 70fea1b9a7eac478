// Package keys holds what makes a device a member of a mesh: the secret, the
// keys derived from it, a device's identity and its membership certificate.
//
//	secret (32 random bytes, "hearth1…")
//	  ├─ HKDF "mesh signing key"  → Ed25519 key that signs certificates
//	  ├─ HKDF "gossip topic"      → name of the status topic
//	  ├─ HKDF "fingerprint"       → short, public: tells meshes apart
//	  ├─ HKDF "node identity", salt = the device's seed
//	  │                           → Ed25519 key, whose libp2p peer ID names it
//	  └─ HKDF "sealed in the journal", salt = the device's seed
//	                              → AES key for what requests keep secret
//
// It reads and writes its own key files and nothing else; of libp2p it knows
// keys and peer IDs only.
package keys
