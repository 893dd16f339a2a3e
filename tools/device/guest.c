// SPDX-License-Identifier: MIT
/* Keeps guest.h. */
#include "guest.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ull

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static void region_close(struct guest_region *r)
{
	if (r->map)
		munmap(r->map, r->map_bytes);
	close(r->fd);
}

static int region_open(struct guest_region *r, const struct guest_region_spec *spec, int fd,
		       const char **why)
{
	uint64_t end, lead = spec->offset % PAGE;
	struct stat st;

	*r = (struct guest_region){ .spec = *spec, .fd = fd };
	*why = "a memory region is empty or its addresses overflow";
	if (!spec->bytes || __builtin_add_overflow(spec->gpa, spec->bytes, &end) ||
	    __builtin_add_overflow(spec->user, spec->bytes, &end) ||
	    __builtin_add_overflow(spec->offset, spec->bytes, &end) || end > INT64_MAX)
		return -EINVAL;
	*why = "a page of a memory region is not a page of its file";
	if ((spec->gpa - spec->offset) % PAGE)
		return -EINVAL;
	*why = "a memory region is not in a file";
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	/* a file that shrinks later raises SIGBUS, which ends this guest's process */
	*why = "a memory region is larger than its file";
	if ((uint64_t)st.st_size < end)
		return -EINVAL;
	r->map_bytes = spec->bytes + lead;
	r->map = mmap(NULL, r->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)(spec->offset - lead));
	if (r->map == MAP_FAILED) {
		*why = "a memory region cannot be mapped";
		r->map = NULL;
		return -errno;
	}
	madvise(r->map, r->map_bytes, MADV_DONTDUMP);
	r->at = r->map + lead;
	return 0;
}

int guest_memory_set(struct guest_memory *m, const struct guest_region_spec *spec,
		     const int *fds, unsigned n, const char **why)
{
	struct guest_memory new = { 0 };
	int ret = -EINVAL;

	*why = "too many memory regions";
	if (n > GUEST_MAX_REGIONS)
		goto err_fds;
	for (unsigned i = 0; i < n; i++) {
		ret = region_open(&new.region[i], &spec[i], fds[i], why);
		new.n++;
		if (ret)
			goto err_regions;
		for (unsigned j = 0; j < i; j++)
			if (spec[i].gpa < spec[j].gpa + spec[j].bytes &&
			    spec[j].gpa < spec[i].gpa + spec[i].bytes) {
				*why = "memory regions overlap";
				ret = -EINVAL;
				goto err_regions;
			}
		new.bytes += spec[i].bytes;
	}
	guest_memory_clear(m);
	*m = new;
	return 0;

err_regions:
	for (unsigned i = 0; i < new.n; i++)
		region_close(&new.region[i]);
err_fds:
	for (unsigned i = new.n; i < n; i++)
		close(fds[i]);
	return ret;
}

void guest_memory_clear(struct guest_memory *m)
{
	for (unsigned i = 0; i < m->n; i++)
		region_close(&m->region[i]);
	*m = (struct guest_memory){ 0 };
}

/* The region that holds gpa, and how much of `bytes` it holds from there on. */
static const struct guest_region *find(const struct guest_memory *m, uint64_t gpa, uint64_t bytes,
				       uint64_t *part)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct guest_region *r = &m->region[i];
		uint64_t at = gpa - r->spec.gpa;

		if (gpa < r->spec.gpa || at >= r->spec.bytes)
			continue;
		*part = bytes < r->spec.bytes - at ? bytes : r->spec.bytes - at;
		return r;
	}
	return NULL;
}

bool guest_read(const struct guest_memory *m, void *dst, uint64_t gpa, size_t n)
{
	while (n) {
		uint64_t part;
		const struct guest_region *r = find(m, gpa, n, &part);

		if (!r)
			return false;
		memcpy(dst, r->at + (gpa - r->spec.gpa), part);
		dst = (char *)dst + part;
		gpa += part;
		n -= part;
	}
	/* what is looked at from here on is the copy */
	__asm__ volatile("" ::: "memory");
	return true;
}

bool guest_write(const struct guest_memory *m, uint64_t gpa, const void *src, size_t n)
{
	while (n) {
		uint64_t part;
		const struct guest_region *r = find(m, gpa, n, &part);

		if (!r)
			return false;
		memcpy(r->at + (gpa - r->spec.gpa), src, part);
		src = (const char *)src + part;
		gpa += part;
		n -= part;
	}
	return true;
}

void *guest_at_user(const struct guest_memory *m, uint64_t user, uint64_t bytes)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct guest_region *r = &m->region[i];
		uint64_t at = user - r->spec.user;

		if (user >= r->spec.user && at < r->spec.bytes && bytes <= r->spec.bytes - at)
			return r->at + at;
	}
	return NULL;
}

int guest_map(const struct guest_memory *m, char *at, uint64_t gpa, uint64_t bytes,
	      bool read_only, unsigned *n_maps)
{
	while (bytes) {
		uint64_t part, offset;
		const struct guest_region *r = find(m, gpa, bytes, &part);

		if (!r)
			return -EFAULT;
		offset = r->spec.offset + (gpa - r->spec.gpa);
		if (offset % PAGE || part % PAGE)
			return -EFAULT;
		if (mmap(at, part, read_only ? PROT_READ : PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, r->fd,
			 (off_t)offset) == MAP_FAILED)
			return -errno;
		madvise(at, part, MADV_DONTDUMP);
		++*n_maps;
		at += part;
		gpa += part;
		bytes -= part;
	}
	return 0;
}

uint64_t guest_place(const struct guest_memory *m, uint64_t gpa)
{
	uint64_t part;
	const struct guest_region *r = find(m, gpa, 1, &part);

	return r ? (r->spec.offset + (gpa - r->spec.gpa)) % GUEST_HUGE_PAGE : 0;
}

uint64_t guest_make_huge(const struct guest_memory *m, char *at, uint64_t gpa, uint64_t bytes,
			 uint64_t until_ns)
{
	uint64_t part, huge = 0;

	for (; bytes; at += part, gpa += part, bytes -= part) {
		uint64_t n = -(uintptr_t)at % GUEST_HUGE_PAGE;

		if (!find(m, gpa, bytes, &part))
			break;
		if (guest_place(m, gpa) != (uintptr_t)at % GUEST_HUGE_PAGE)
			continue;
		for (; n < part && part - n >= GUEST_HUGE_PAGE; n += GUEST_HUGE_PAGE) {
			struct timespec t;

			clock_gettime(CLOCK_MONOTONIC, &t);
			if (t.tv_sec * 1000000000ull + t.tv_nsec >= until_ns)
				return huge;
			if (!madvise(at + n, GUEST_HUGE_PAGE, MADV_COLLAPSE))
				huge += GUEST_HUGE_PAGE;
			else if (errno == ENOMEM)
				/* another search would take as long and find as little */
				return huge;
		}
	}
	return huge;
}
