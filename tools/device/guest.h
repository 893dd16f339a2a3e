/* SPDX-License-Identifier: MIT */
/*
 * The memory of a guest, as a vhost-user front end describes it: regions of files
 * that are mapped here. Everything in it may change at any time, so it is copied
 * first and looked at then; nothing hands out pointers into it but guest_at_user(),
 * for rings, and guest_map(), for operands, whose readers expect that.
 */
#ifndef LINNET_DEVICE_GUEST_H
#define LINNET_DEVICE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MAX_REGIONS 8

/* As in the front end's message. */
struct guest_region_spec {
	uint64_t gpa;		/* guest-physical address */
	uint64_t bytes;
	uint64_t user;		/* the front end's own address */
	uint64_t offset;	/* in the file */
};

struct guest_region {
	struct guest_region_spec spec;
	int fd;
	char *map;		/* as it was mapped, from a page border on */
	size_t map_bytes;
	char *at;		/* of spec.gpa */
};

struct guest_memory {
	unsigned n;
	uint64_t bytes;
	struct guest_region region[GUEST_MAX_REGIONS];
};

/*
 * Replace what m holds; fds are taken over in any case. Fails with -errno, *why and no
 * change.
 */
int guest_memory_set(struct guest_memory *m, const struct guest_region_spec *spec,
		     const int *fds, unsigned n, const char **why);
void guest_memory_clear(struct guest_memory *m);

/* Copy; false when not all of it is memory of the guest. */
bool guest_read(const struct guest_memory *m, void *dst, uint64_t gpa, size_t n);
bool guest_write(const struct guest_memory *m, uint64_t gpa, const void *src, size_t n);

/* Address here of bytes at the front end's address; NULL when they are not all in one region. */
void *guest_at_user(const struct guest_memory *m, uint64_t user, uint64_t bytes);

#define GUEST_HUGE_PAGE (2ull << 20)

/*
 * Where in a huge page of its file the page at gpa lies. What is mapped at an address that
 * lies in the same place can be mapped by huge pages. 0 when it is no memory of the guest.
 */
uint64_t guest_place(const struct guest_memory *m, uint64_t gpa);

/*
 * Map guest pages at `at`, over what is there. -EFAULT: not memory of the guest, or not
 * on page borders. *n_maps counts the mappings that were made.
 */
int guest_map(const struct guest_memory *m, char *at, uint64_t gpa, uint64_t bytes,
	      bool read_only, unsigned *n_maps);

/*
 * Have the kernel put what guest_map() mapped at `at` in huge pages, as far as it can and
 * until CLOCK_MONOTONIC is until_ns: small pages are copied into huge ones. Returns how many
 * bytes are in huge pages.
 */
uint64_t guest_make_huge(const struct guest_memory *m, char *at, uint64_t gpa, uint64_t bytes,
			 uint64_t until_ns);

#endif
