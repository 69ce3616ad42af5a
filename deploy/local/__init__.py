"""The native stack: everything Atelier needs, as private processes of one folder on this machine.

`make up` runs `python -m deploy.local up`. Tests use the same through `Stack`:

    with Stack(folder, slots=2, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}) as stack:  # up() … delete()
        key = stack.create_key(tenant=tenant, project=None, role="admin", name="a test")
        requests.get(f"{stack.url}/api/me", headers={"Authorization": f"Bearer {key}"})
        stack.worker.kill()  # SIGKILL, as a crash would be
        stack.worker.start()  # returns when /readyz answers 200
        stack.rabbitmq.stop(); stack.rabbitmq.start()

- `Stack(folder, env=…, service_env={"gateway": {…}}, slots=…, replicas={"worker": 2}, external=…)` starts nothing by
  itself. Any number of stacks with different folders run side by side. Keep folder paths short where kernels run in
  them: a unix socket's path has at most 107 characters.
- `up(report=…)` starts what does not run: RabbitMQ, PostgreSQL and S3 at once, then the migrations, then all services
  at once. `up(only=["rabbitmq", "postgres"])` starts just these, and no migration. `down()` ends every process of the
  stack, also orphans; `delete()` does so and removes the data. `migrate()` runs the migrations alone.
- Components: `rabbitmq` (`url`), `postgres` (`dsn`, `dsn_of(role, password)`), `object_store` (`access`), and the
  services `gateway`, `catalog`, `control`, `worker`, `artifacts` (`url`, `ops_url`, `environment()`); further replicas
  are `stack["worker-2"]`. Each has `start()`, `stop()`, `kill()`, `is_running()`, `pid`, `port`, `log`, `launch()`
  (start without waiting) and `wait_ready(seconds)`. All these block: call them from async code by `asyncio.to_thread`.
- `amqp_url`, `postgres_dsn`, `s3` and `role_dsn("catalog")` are what the services get, external or not.
- `end_with_this_process()` starts a guard that ends the stack should the caller die without calling `down()`.
- Ports are remembered in the folder. A restarted component keeps its port, so clients find it again.
"""

from deploy.local.component import NotReady, StartFailed
from deploy.local.external import External
from deploy.local.object_store import S3Access
from deploy.local.stack import Stack

__all__ = ["External", "NotReady", "S3Access", "Stack", "StartFailed"]
