/* SPDX-License-Identifier: MIT */
/*
 * Hash of byte strings for tables whose keys come from outside: SipHash-1-3 with
 * the process's own key, so that a file cannot be written to collide.
 * Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
 */
#ifndef LINNET_UTIL_HASH_H
#define LINNET_UTIL_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

struct linnet_hash_key {
	uint64_t k0, k1;
};

/* The process's key: the 16 random bytes that the kernel gives each program. */
static inline struct linnet_hash_key linnet_hash_key(void)
{
	const void *random = (const void *)getauxval(AT_RANDOM);
	struct linnet_hash_key key = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };

	if (random)
		memcpy(&key, random, sizeof(key));
	return key;
}

static inline uint64_t linnet_hash_rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void linnet_hash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = linnet_hash_rotl(v[1], 13) ^ v[0];
	v[3] = linnet_hash_rotl(v[3], 16) ^ v[2];
	v[0] = linnet_hash_rotl(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = linnet_hash_rotl(v[1], 17) ^ v[2];
	v[3] = linnet_hash_rotl(v[3], 21) ^ v[0];
	v[2] = linnet_hash_rotl(v[2], 32);
}

static inline uint64_t linnet_hash(struct linnet_hash_key key, const void *data, size_t n)
{
	uint64_t v[4] = {
		key.k0 ^ 0x736f6d6570736575u, key.k1 ^ 0x646f72616e646f6du,
		key.k0 ^ 0x6c7967656e657261u, key.k1 ^ 0x7465646279746573u,
	};
	const unsigned char *p = data;
	uint64_t m;
	size_t i;

	for (i = 0; n - i >= 8; i += 8) {
		memcpy(&m, p + i, 8);
		v[3] ^= m;
		linnet_hash_round(v);
		v[0] ^= m;
	}
	m = (uint64_t)n << 56;
	for (size_t j = 0; i + j < n; j++)
		m |= (uint64_t)p[i + j] << 8 * j;
	v[3] ^= m;
	linnet_hash_round(v);
	v[0] ^= m;
	v[2] ^= 0xff;
	linnet_hash_round(v);
	linnet_hash_round(v);
	linnet_hash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
