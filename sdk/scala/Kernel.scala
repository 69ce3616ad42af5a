package atelier

import java.io.OutputStream

import com.typesafe.config.ConfigValueFactory
import org.apache.hadoop.security.UserGroupInformation
import org.apache.spark.internal.Logging
import org.apache.spark.sql.SparkSession
import org.apache.toree.boot.layer.{
  StandardComponentInitialization, StandardHandlerInitialization, StandardHookInitialization
}
import org.apache.toree.boot.{CommandLineOptions, KernelBootstrap}
import org.apache.toree.global.{ExecuteRequestState, StreamState}
import org.apache.toree.interpreter.{ExecuteError, ExecuteFailure, Results}
import org.apache.toree.kernel.api.KernelLike
import org.apache.toree.kernel.interpreter.scala.ScalaInterpreter
import org.apache.toree.kernel.interpreter.sql.SqlInterpreter
import org.apache.toree.kernel.protocol.v5.kernel.socket.SocketConfig
import sun.misc.Signal

import scala.annotation.nowarn

/** Starts Toree with Atelier's sockets and streams, its helper imported, and Spark on its way:
  * `java … atelier.Kernel --profile FILE`.
  */
object Kernel extends Logging {
  def main(arguments: Array[String]): Unit =
    try run(arguments)
    catch {
      case error: Throwable => // other threads would keep the process alive
        error.printStackTrace()
        Runtime.getRuntime.halt(1)
    }

  @nowarn("cat=deprecation") // System.setSecurityManager, which Toree uses
  private def run(arguments: Array[String]): Unit = {
    initializeLogIfNecessary(true) // before the streams are replaced: a log is no output of a cell
    System.setIn(Streams.NoInput)
    System.setOut(Streams.out)
    System.setErr(Streams.err)
    val scratch = sys.env.getOrElse("TMPDIR", "/tmp")
    System.setProperty("java.io.tmpdir", scratch)
    System.setProperty("spark.local.dir", scratch)
    System.setProperty("spark.sql.warehouse.dir", s"file:$scratch/warehouse")
    // A kernel's user has no name, and Hadoop does not start for such a one.
    UserGroupInformation.setLoginUser(UserGroupInformation.createRemoteUser("kernel"))

    // In the place of Toree's own Scala interpreter: each that is listed starts a compiler.
    val interpreters = java.util.List.of(s"Scala:${classOf[Interpreter].getName}", s"SQL:${classOf[SqlInterpreter].getName}")
    val config = new CommandLineOptions(arguments).toConfig
      .withValue("default_interpreter_plugin", ConfigValueFactory.fromIterable(interpreters))
    val sockets = new Wire(SocketConfig.fromConfig(config), Streams.sent)
    val bootstrap = new KernelBootstrap(config)
      with Messaging
      with StandardComponentInitialization
      with StandardHandlerInitialization
      with StandardHookInitialization {
      override def wire: Wire = sockets
      override def initializeShutdownHook(): Unit = Runtime.getRuntime.addShutdownHook(new Thread(() => end(wire)))
    }
    bootstrap.initialize()
    // Toree forbids System.exit and ends at the second interrupt within three seconds. Here a cell may end its kernel,
    // and an interrupt ends a cell.
    System.setSecurityManager(new ExitNotice(sockets))
    Signal.handle(new Signal("INT"), _ => Interpreter.current.foreach(_.interrupt()))
    bootstrap.begin()
    val warming = new Thread(() => warmUp(), "spark-warming-up")
    warming.setDaemon(true)
    warming.start()
    bootstrap.waitForTermination()
  }

  /** What was printed leaves before the end, also where a cell ends the machine. */
  private def end(wire: Wire): Unit = {
    Streams.drain()
    wire.close()
  }

  /** How long a kernel that is ready may be without a cell before it counts as waiting for its run, in milliseconds. A
    * pool suspends kernels later than that.
    */
  private val IdleMs = 2000L

  /** Spark's first job takes seconds; while a kernel waits for its run they cost nobody anything. */
  private def warmUp(): Unit = {
    Thread.sleep(IdleMs)
    if (ExecuteRequestState.lastKernelMessage.isEmpty) SparkSession.builder().getOrCreate().range(1).count()
  }
}

object Interpreter {
  @volatile private[atelier] var current: Option[Interpreter] = None

  /** Whether a cell is being run. */
  @volatile private[atelier] var isRunning = false
}

/** Toree's interpreter with compiler errors named, Spark's jobs ended by an interrupt, and the helper imported. */
class Interpreter extends ScalaInterpreter {
  override def init(kernel: KernelLike): org.apache.toree.interpreter.Interpreter = {
    Interpreter.current = Some(this)
    RunFolder.kernel = Some(kernel)
    super.init(kernel)
  }

  override def postInit(): Unit = {
    super.postInit()
    doQuietly(super.interpret("import atelier.Atelier._", silent = true, None))
  }

  override def interpret(
      code: String, silent: Boolean, output: Option[OutputStream]
  ): (Results.Result, Either[Map[String, String], ExecuteFailure]) = {
    // Toree's stream for a cell loses white space, order and parts of characters.
    StreamState.setStreams(Streams.NoInput, Streams.out, Streams.err)
    Interpreter.isRunning = output.isDefined
    val done =
      try super.interpret(code, silent, output)
      finally {
        Streams.flush()
        Interpreter.isRunning = false
      }
    done match {
      case (result, Right(ExecuteError("Unknown Error", message, trace))) =>
        (result, Right(ExecuteError("CompileError", message.trim, trace)))
      case (result, Right(ExecuteError(name, null, trace))) => (result, Right(ExecuteError(name, "", trace)))
      case other                                            => other
    }
  }

  override def interrupt(): org.apache.toree.interpreter.Interpreter = {
    SparkSession.getDefaultSession.foreach(_.sparkContext.cancelAllJobs())
    super.interrupt()
  }
}
