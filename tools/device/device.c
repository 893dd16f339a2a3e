// SPDX-License-Identifier: MIT
/* Making and ending a device, see device.h. */
#include "device.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* Lines about one guest, and with -v. */
#define MAX_SAID 64
#define MAX_SAID_VERBOSE 4096

/* Mappings that are left for all but resources. */
#define OTHER_MAPS 1024

void device_say(struct device *d, const char *fmt, ...)
{
	const unsigned max = d->opts.verbose ? MAX_SAID_VERBOSE : MAX_SAID;
	unsigned n = atomic_fetch_add(&d->n_said, 1);
	char line[256];
	va_list ap;

	if (!d->opts.say || n > max) {
		atomic_store(&d->n_said, max + 1);
		return;
	}
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	d->opts.say(d->opts.say_ctx, n < max ? line : "no more is said about this guest");
}

static unsigned map_limit(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
	unsigned n = 65530;

	if (f) {
		if (fscanf(f, "%u", &n) != 1)
			n = 65530;
		fclose(f);
	}
	return n > OTHER_MAPS ? n - OTHER_MAPS : 0;
}

int device_create(struct device **out, const struct device_options *opts, const char **why)
{
	struct device *d;
	unsigned n = opts->n_threads ? opts->n_threads : linnet_pool_cores();
	int ret;

	*why = "out of memory";
	/* holds cache-line aligned members */
	if (posix_memalign((void **)&d, 64, sizeof(*d)))
		return -ENOMEM;
	memset(d, 0, sizeof(*d));
	d->opts = *opts;
	d->opts.n_threads = n;
	d->last = &d->first;
	d->backend_fd = d->reply_fd = -1;
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
		vq_init(&d->queue[i]);
	linnet_team_init(&d->alone, 1);
	/* on one processor it would keep the guest from it */
	d->may_watch = sysconf(_SC_NPROCESSORS_ONLN) > 1;
	d->max_maps = map_limit();
	*why = "no such level of kernels, or not on this CPU";
	ret = linnet_kernels_init(&d->kernels, opts->level);
	if (ret)
		goto err_free;
	*why = "cannot make an event descriptor";
	d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->wake < 0) {
		ret = -errno;
		goto err_free;
	}
	*why = "cannot start the threads";
	ret = linnet_pool_create(&d->pool, n, NULL);
	if (ret)
		goto err_close;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->job_ended, NULL);
	*out = d;
	return 0;

err_close:
	close(d->wake);
err_free:
	free(d);
	return ret;
}

void device_destroy(struct device *d)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	device_jobs_stop(d, 0);
	d->quit = true;
	pthread_mutex_unlock(&d->lock);
	if (d->has_thread) {
		device_jobs_wake(d);
		pthread_join(d->thread, NULL);
	}
	device_objects_clear(d);
	guest_memory_clear(&d->memory);
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++) {
		vq_close_fd(&d->queue[i].kick);
		vq_close_fd(&d->queue[i].call);
	}
	if (d->inflight)
		munmap(d->inflight, d->inflight_bytes);
	vq_close_fd(&d->reply_fd);
	vq_close_fd(&d->backend_fd);
	close(d->wake);
	linnet_pool_destroy(d->pool);
	pthread_cond_destroy(&d->job_ended);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
