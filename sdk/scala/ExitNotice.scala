package atelier

import java.nio.charset.StandardCharsets.UTF_8
import java.security.Permission
import java.util.UUID
import java.util.concurrent.atomic.AtomicBoolean

import org.apache.toree.global.{ExecuteRequestState, ExecutionCounter}
import org.apache.toree.kernel.protocol.v5.{KMBuilder, KernelMessage}
import play.api.libs.json.{JsObject, Json}

import scala.annotation.nowarn

/** Has a cell that ends the Java machine say so in its reply, with the status: `sys.exit(0)` is no death of the kernel.
  * Java asks its security manager before it ends; this one allows everything.
  */
@nowarn("cat=deprecation")
private[atelier] final class ExitNotice(wire: Wire) extends SecurityManager {
  private val isGiven = new AtomicBoolean

  override def checkPermission(permission: Permission): Unit = ()
  override def checkPermission(permission: Permission, context: Object): Unit = ()

  override def checkExit(status: Int): Unit =
    if (Interpreter.isRunning && isGiven.compareAndSet(false, true)) {
      Streams.drain()
      for (request <- ExecuteRequestState.lastKernelMessage) {
        val asked = Json.obj("source" -> "ask_exit", "keepkernel" -> false, "status" -> status)
        val count = ExecutionCounter.incr(request.header.session) - 1
        tell(request, "execute_reply", Json.obj(
          "status" -> "ok", "execution_count" -> count, "payload" -> Seq(asked), "user_expressions" -> Json.obj()
        ))
        tell(request, "status", Json.obj("execution_state" -> "idle"))
      }
    }

  private def tell(request: KernelMessage, kind: String, content: JsObject): Unit = {
    val header = request.header.copy(msg_id = UUID.randomUUID.toString, msg_type = kind)
    val ids = if (kind == "status") Seq(kind.getBytes(UTF_8)) else request.ids
    wire.send(KMBuilder().withIds(ids).withParent(request).withHeader(header).withContentString(content.toString).build)
  }
}
